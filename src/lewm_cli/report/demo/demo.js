/*
 * The page in which a run plans: a world (tworoom.js or remote.js), a model (model.js), hands on the frame (hands.js),
 * and what shows them, drawn as in the viewer (drawing.js). `window.demo` is the one instance; tests and benches await
 * `demo.ready`, `demo.begin(seed)`, `demo.stepOnce()` and `demo.play()`.
 */

/** Milliseconds that an iteration of the solver and an environment step are shown. */
const PACES = {
  slow: { iteration: 450, step: 120 },
  normal: { iteration: 130, step: 50 },
  fast: { iteration: 40, step: 20 },
  full: { iteration: 0, step: 0 },
};

/** Milliseconds between plans where nothing moves, for those who asked for less motion. */
const STILL = 500;

/** Settings that only one of the solvers has, or has with another default, as in lewm_cli/config/planner.py. */
const SOLVERS = {
  cem: { result: "mean", color: null, kept: null },
  icem: { result: "best", color: 2, kept: 0.3 },
};

/** What can be chosen of the search: from, to, step. */
const RANGES = { candidates: [20, 500, 10], iterations: [1, 20, 1], horizon: [1, 12, 1] };

/** Plans after which the page says what may help. */
const MANY = 25;

/** Plans after which it pauses: nobody may be there, and the way that is drawn must not grow forever. */
const ENOUGH = 200;

/** Plans whose mean time the page tells. */
const RECENT = 10;

/** The pair that the page opens with. */
const FIRST = 5;

/** Places of latents on the latent map. */
class Plane {
  constructor({ mean, axes, map }) {
    Object.assign(this, { mean, axes });
    const points = decoded(map.points);
    // What lies far outside of the cloud is drawn at the border, so that the map keeps its scale.
    const values = [0, 1].map((axis) => points.filter((_, k) => k % 2 === axis));
    const room = values.map((of) => (Math.max(...of) - Math.min(...of)) / 10);
    this.low = values.map((of, axis) => Math.min(...of) - room[axis]);
    this.high = values.map((of, axis) => Math.max(...of) + room[axis]);
  }

  /** @param {Float32Array} latents  n * D  @returns {Float32Array} n places: x, y, x, y, ... */
  places(latents) {
    const size = this.mean.length;
    return Float32Array.from({ length: (2 * latents.length) / size }, (_, k) => {
      const [start, axis] = [Math.floor(k / 2) * size, k % 2];
      const place = this.mean.reduce((sum, mean, d) => sum + (latents[start + d] - mean) * this.axes[axis][d], 0);
      return Math.min(Math.max(place, this.low[axis]), this.high[axis]);
    });
  }
}

/** A plan as it is drawn: its candidates are followed in the world from where it is now. */
class DrawnPlan {
  /** @param {PlanFound} found */
  constructor(found, world, plane) {
    this.lowest = found.iterations.map(({ lowest }) => lowest);
    this.mean = found.iterations.map(({ mean }) => mean);
    this.path = world.follow(found.actions);
    this.imagined = plane.places(found.imagined);
    if (!this.path) return;
    const costs = (candidates) => candidates.map(({ cost }) => cost);
    const ordered = found.iterations.flatMap(({ candidates }) => costs(candidates)).sort((one, other) => one - other);
    /** @type {Iteration[]} */
    this.iterations = found.iterations.map(({ number, candidates }) => ({
      number,
      elites: candidates.filter(({ elite }) => elite).length,
      paths: candidates.map(({ actions }) => world.follow(actions)),
      ranks: ranked(costs(candidates), ordered),
    }));
  }
}

/** What happened since a goal was set. */
class Trip {
  steps = 0;
  plans = 0;
  latents = [];

  constructor(position) {
    this.path = [...position];
  }

  step(position) {
    this.steps++;
    this.path.push(...position);
  }
}

/** The whole page: a world, a model, and the loop in which the model looks, imagines and acts. */
class Demo {
  constructor(root, given, packed) {
    Object.assign(this, { root, given });
    this.world = given.task === "tworoom" ? new TwoRoom(given) : new RemoteWorld(given);
    this.plane = new Plane(given.plane);
    this.controls = Object.fromEntries([...root.querySelectorAll("[name]")].map((one) => [one.name, one]));
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.times = [];
    this.planned = 0;
    /** Grows with every change that makes a plan in the making, or what is left of one, useless. */
    this.situation = 0;
    this.playing = this.waiting = this.arrived = false;
    this.canvases = { frame: new Picture(), now: new Picture("seen-now", root), goal: new Picture("seen-goal", root) };
    root.hidden = false; // sizes are known from here on
    const canvas = (name) => root.querySelector(`.${name}`);
    const resized = () => this.redraw();
    this.scene = new Scene(canvas("scene"), resized, 1, given.goal_radius);
    this.map = new LatentMap(canvas("map"), resized, given.plane.map);
    this.map.fit([[...this.plane.low, ...this.plane.high]]);
    this.costs = new CostChart(canvas("costs"), resized);
    this.hands = new Hands(this, canvas("scene"));
    this.offer();
    this.reset();
    this.listen();
    this.restyle();
    /** Resolves when the page can plan, or says why it cannot. */
    this.ready = this.start(packed);
  }

  async start(packed) {
    this.tell("Starting the model …", "", "The networks are in this page, and are unpacked now.");
    this.enable(false);
    try {
      await this.world.begin(FIRST);
      this.scene.frameSize = this.world.size;
      this.setOff();
      this.model = await Model.load(this.given, packed);
      await this.look();
    } catch (error) {
      this.giveUp(error);
      return;
    }
    this.enable(true);
    const first = this.world.editable ? "Click a goal, then press Play" : "Press Play";
    const more = "You can drag the agent too, or draw walls that the model has never seen.";
    this.tell(first, "", this.world.editable ? more : this.sentence());
  }

  // What the page can do, and what is chosen

  /** Hides what this world or this server cannot do, and names the rest. */
  offer() {
    const { world, controls, root, given } = this;
    const show = (selector, shown) => {
      for (const one of root.querySelectorAll(selector)) one.hidden = !shown;
    };
    show(".editable", world.editable);
    show(".followed", world.editable);
    controls.dim.checked = world.editable; // candidates need a dark ground
    show(".kinematic", world.kinematics);
    show(".places", world.plan);
    const frame = root.querySelector(".scene");
    frame.ariaLabel = world.editable ? "The frame: arrow keys move the goal, with Shift the agent" : "The frame";
    if (!world.editable) frame.role = "img";
    if (!world.editable) frame.removeAttribute("tabindex");
    frame.classList.toggle("fixed", !world.editable);
    controls.anew.textContent = world.editable ? "New start" : "Another pair";
    root.querySelector("dd.anew").textContent = world.editable ? "a new start and goal" : "another pair";
    root.querySelector(".told-first").textContent = counted(given.planner.receding * given.frameskip, "step");
    for (const [name, [low, high, step]] of Object.entries(RANGES)) {
      const usual = given.planner[name];
      const least = name === "horizon" ? given.planner.receding : low;
      Object.assign(controls[name], { min: Math.min(least, usual), max: Math.max(high, usual), step });
    }
  }

  enable(able) {
    for (const name of ["play", "once", "anew"]) this.controls[name].disabled = !able;
  }

  /** Puts all choices back to how the run plans by itself. */
  reset() {
    const { planner } = this.given;
    for (const name of ["solver", ...Object.keys(RANGES)]) this.controls[name].value = planner[name];
    this.choose("imagining", "model");
    this.choose("place", "page");
    this.rearrange();
  }

  chosen(name) {
    return this.root.querySelector(`[name=${name}]:checked`).value;
  }

  choose(name, value) {
    this.root.querySelector(`[name=${name}][value=${value}]`).checked = true;
  }

  /** The planner's settings, by the names of lewm_cli's PlannerConfig. */
  settings() {
    const { planner } = this.given;
    const [candidates, iterations, horizon] = Object.keys(RANGES).map((name) => Number(this.controls[name].value));
    const solver = this.controls.solver.value;
    const own = solver === planner.solver ? planner : SOLVERS[solver];
    const { receding, std, result, color, kept } = { ...planner, ...own };
    const elites = Math.max(2, Math.round((candidates * planner.elites) / planner.candidates));
    const warm = planner.warm_start && receding < horizon;
    return { solver, candidates, elites, iterations, horizon, receding, std, result, color, kept, warm_start: warm };
  }

  /** Shows what was chosen; it takes effect with the next plan. */
  rearrange() {
    const { candidates, iterations, horizon } = this.settings();
    const { frameskip } = this.given;
    const words = { candidates, iterations, horizon: `${horizon} × ${counted(frameskip, "step")}` };
    for (const [name, said] of Object.entries(words)) {
      const bar = this.controls[name];
      bar.style.setProperty("--share", (bar.value - bar.min) / (bar.max - bar.min));
      bar.setAttribute("aria-valuetext", said);
      bar.closest("label").querySelector("output").textContent = said;
    }
    const byHand = this.chosen("imagining") === "kinematics";
    this.root.querySelector(".difference").textContent = byHand
      ? "Rules that a person wrote, from the true position. They know no walls, so plans run straight into them."
      : "It knows frames and actions only, and imagines in its own latent space. The rules of the world are learned.";
    this.times = [];
    if (this.playing) this.tellPlans();
  }

  /** Says in one sentence what the planner does. */
  sentence() {
    const { solver, candidates, elites, iterations, receding } = this.settings();
    const byHand = this.chosen("imagining") === "kinematics";
    if (this.trip.plans >= MANY) {
      const help = byHand
        ? "These rules know no walls: let the model imagine instead."
        : `${solver === "cem" ? "The solver iCEM" : "Another start"} or another goal may help.`;
      return `It has not got there yet. ${help}`;
    }
    const [who, s] = byHand ? ["Hand-written rules try", ""] : ["The model imagines", "s"];
    const keeps = `keep${s} the best ${elites}`;
    const search = iterations > 1 ? `, ${keeps}, and repeat${s} that ${iterations} times` : ` and ${keeps}`;
    const steps = receding * this.given.frameskip;
    const taken = steps > 1 ? `the first ${steps} steps` : "the first step";
    return `${who} ${candidates} action sequences${search}. Then the agent takes ${taken}.`;
  }

  // Looking, imagining, acting

  /** Encodes what is seen now, and the goal if it is new. Of changes in the meantime only the last one counts. */
  look() {
    this.looking ??= this.encode().finally(() => (this.looking = null));
    return this.looking;
  }

  async encode() {
    if (!this.model) return;
    while (this.seen !== this.world.now || this.aim !== this.world.goal) {
      const { trip, world } = this;
      const { now, goal } = world;
      if (this.aim !== goal) {
        this.goalLatent = await this.model.encode(goal.seen);
        this.goalPlace = this.plane.places(this.goalLatent);
        this.aim = goal;
      }
      this.latent = await this.model.encode(now.seen);
      this.seen = now;
      if (trip === this.trip) trip.latents.push(...this.plane.places(this.latent));
      this.redraw();
    }
  }

  /** One plan for what is seen now. */
  async search() {
    const { model, world, latent, goalLatent: goal } = this;
    const settings = this.settings();
    const byHand = world.kinematics && this.chosen("imagining") === "kinematics";
    const kinematics = byHand ? { ...world.kinematics, position: world.now.position, goal: world.goal.position } : null;
    const fits = settings.warm_start && this.warm?.settings.horizon === settings.horizon;
    const warm = fits && this.warm.settings.solver === settings.solver ? this.warm.found : null;
    const planner = world.plan && this.chosen("place") === "python" ? world : model;
    const device = planner === world ? "Python" : model.device;
    const request = { latent, goal, settings, seed: this.planned++, warm, kinematics, draws: null };
    return { found: await planner.plan(request), settings, device };
  }

  /** Plans once, and acts on it. False if something changed meanwhile, so that it came to nothing. */
  async advance() {
    const { situation } = this;
    const stale = () => situation !== this.situation;
    while (this.hands.hold("agent")) await this.pause(100);
    this.enter("look");
    while (this.seen !== this.world.now || this.aim !== this.world.goal) await this.look();
    if (stale()) return false;
    this.enter("imagine");
    const { found, settings, device } = await this.search();
    this.times = [...this.times, found.milliseconds].slice(-RECENT);
    this.device = device;
    if (stale()) return false;
    this.trip.plans++;
    if (this.trip.plans === MANY && this.playing) this.tellPlans();
    this.plan = this.charted = new DrawnPlan(found, this.world, this.plane);
    await this.showIterations(stale);
    if (stale()) return false;
    this.enter("act");
    this.fanned = !this.playing || !this.pace.iteration;
    if (!(await this.act(found.actions, settings.receding, stale))) return false;
    this.warm = { found, settings };
    return true;
  }

  async showIterations(stale) {
    this.fanned = true;
    const last = this.plan.lowest.length;
    const { iteration: time } = this.pace;
    for (this.iteration = time ? 1 : last; this.iteration < last && !stale(); this.iteration++) {
      this.redraw();
      await this.pause(time);
    }
    this.redraw();
    await this.pause(time);
  }

  /** Takes the first blocks of a plan, step by step. */
  async act(actions, blocks, stale) {
    const dims = this.given.actions.mean.length;
    const count = blocks * this.given.frameskip;
    for (let step = 0; step < count && !this.world.now.reached; step++) {
      await this.world.act(actions.slice(step * dims, (step + 1) * dims));
      if (stale()) return false;
      this.trip.step(this.world.now.position);
      this.look().catch(() => {}); // whoever awaits the next look is told
      this.redraw();
      await this.pause(this.pace.step);
      if (stale()) return false;
    }
    if (this.still.matches) await this.pause(STILL);
    return !stale();
  }

  get pace() {
    return this.still.matches ? PACES.full : PACES[this.controls.speed.value];
  }

  /** Waits, unless something changes. */
  async pause(milliseconds) {
    if (!milliseconds) return;
    await new Promise((resolve) => {
      this.wake = resolve;
      setTimeout(resolve, milliseconds);
    });
  }

  /** Makes useless what is going on, so that it ends at once. */
  interrupt() {
    this.situation++;
    this.warm = null;
    this.wake?.();
  }

  /** Plan after plan until the goal is reached or the user pauses. */
  play() {
    if (!this.model || this.world.now.reached) return Promise.resolve();
    this.playing = true;
    return this.run();
  }

  /** One plan and its steps. */
  stepOnce() {
    if (!this.model || this.world.now.reached || this.running) return this.halt();
    return this.run();
  }

  /** Stops where it is; resolves when nothing goes on any more. */
  halt() {
    this.playing = false;
    this.interrupt();
    this.redraw();
    return this.running ?? Promise.resolve();
  }

  run() {
    this.arrived = false;
    this.enough = this.trip.plans + ENOUGH;
    this.tellPlans();
    this.running ??= this.loop().finally(() => (this.running = null));
    this.redraw();
    return this.running;
  }

  async loop() {
    try {
      do {
        await this.advance();
        await this.look(); // meanwhile there may be a new goal, or no wish to pause any more
      } while (this.playing && !this.world.now.reached && this.trip.plans < this.enough);
      this.settle();
    } catch (error) {
      this.tell("It stopped", "missed", error.message);
    }
    this.playing = false;
    this.enter(null);
    this.redraw();
  }

  /** Says how it stands where nothing goes on. */
  settle() {
    const { steps, plans } = this.trip;
    const { reached } = this.world.now;
    this.arrived = reached && this.playing;
    const after = `after ${counted(steps, "step")}`;
    if (!reached) return this.tell(`Paused ${after}`, "", this.sentence());
    const next = this.world.editable ? "Click a new goal" : "Choose another pair";
    return this.tell(`Goal reached ${after}`, "reached", `It took ${counted(plans, "plan")}. ${next} to go on.`);
  }

  // What the user changes

  /** A new start and goal; one at a time. */
  begin(seed = Math.floor(Math.random() * 2 ** 31)) {
    this.beginning ??= this.beginWith(seed).finally(() => (this.beginning = null));
    return this.beginning;
  }

  async beginWith(seed) {
    await this.halt();
    try {
      await this.world.begin(seed);
      this.arrived = false;
      this.setOff();
      await this.look();
    } catch (error) {
      this.tell("It stopped", "missed", error.message);
      return;
    }
    const { editable } = this.world;
    this.tell("A new start and a new goal", "", `Press Play${editable ? ", or click another goal" : ""}.`);
  }

  /** Begins to count anew: the goal, or where the agent is, has changed. */
  setOff() {
    this.trip = new Trip(this.world.now.position);
    this.seen = null; // its place begins the new way on the map
    this.plan = null;
    this.interrupt();
    this.redraw();
  }

  /** @returns {boolean} false if that place is not free */
  setGoal(place) {
    if (!this.world.placeGoal(place)) return false;
    this.moved();
    return true;
  }

  setAgent(place) {
    if (!this.world.placeAgent(place)) return false;
    this.arrived = false;
    this.moved();
    return true;
  }

  moved() {
    this.setOff();
    this.look().catch((error) => this.giveUp(error));
    if (!this.model) return;
    if (this.playing) this.tellPlans();
    else if (this.running) return;
    else if (this.world.now.reached) this.tell("Already at the goal", "reached", "Choose a goal farther away.");
    else this.tell("Press Play", "", "The model then plans the way to the goal.");
  }

  drawWall(from, to) {
    this.world.drawWall(from, to);
    this.rebuilt();
  }

  clearWalls() {
    this.world.clearWalls();
    this.rebuilt();
  }

  /** Walls do not end what is going on: the next look shows them. */
  rebuilt() {
    this.look().catch((error) => this.giveUp(error));
    this.redraw();
  }

  /** Says what the pointer does now. */
  point() {
    this.hands.begun = null;
    this.redraw();
    if (this.running || !this.model) return;
    if (this.hands.drawing) {
      const unseen = "The model has never seen such walls: watch what it makes of them.";
      this.tell("Draw on the frame", "", `What you draw is solid. ${unseen}`);
    } else this.tell("Press Play", "", "Or click another goal first, or drag the agent.");
  }

  toggle() {
    if (this.playing) this.halt();
    else this.onward(() => this.play());
  }

  /** Goes on; where the goal is reached already, from a new start. */
  async onward(act) {
    await (this.world.now.reached ? this.begin() : this.beginning);
    await act();
  }

  // What the page says

  tell(words, kind, sentence) {
    const [verdict, more] = [".verdict", ".sentence"].map((part) => this.root.querySelector(part));
    // What is told again is not read out again.
    if (verdict.textContent !== words) verdict.textContent = words;
    if (more.textContent !== sentence) more.textContent = sentence;
    verdict.className = `verdict ${kind}`;
  }

  tellPlans() {
    this.tell("On the way to the goal", "running", this.sentence());
  }

  /** What goes on now: look, imagine or act; null if nothing does, or too fast for eyes. */
  enter(phase) {
    const list = this.root.querySelector(".phases");
    this.phase = phase;
    list.classList.toggle("shown", Boolean(phase && this.pace.step));
    for (const item of list.children) item.classList.toggle("current", item.textContent === phase);
  }

  /** There is nothing to do without a model: one sentence in place of the controls. */
  giveUp(error) {
    const { root } = this;
    for (const part of root.querySelectorAll(".controls, .details, .settings, .phases")) part.hidden = true;
    const trouble = root.querySelector(".trouble");
    trouble.hidden = false;
    trouble.textContent = error.message;
    this.tell("The model cannot plan here", "missed", "");
    this.enable(false);
    this.world.editable = false;
  }

  note(what, words) {
    this.root.querySelector(`.told-${what}`).textContent = words;
  }

  // Drawing

  restyle() {
    this.colors = styled(this.root, this.controls.blind.checked, this.controls.dim.checked);
    const event = getComputedStyle(this.root).getPropertyValue("--event").trim();
    this.colors.map = { cloud: this.colors.theme.model, way: event, imagined: this.colors.theme.ink };
    this.redraw();
  }

  redraw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.waiting = false;
    const { trip, world, controls, canvases } = this;
    const plan = world.now?.reached && !this.running ? null : this.plan;
    controls.play.textContent = this.playing ? "Pause" : "Play";
    if (!trip) return;
    controls.clear.hidden = !world.walls.length;
    const frame = canvases.frame.show(world.now.frame);
    canvases.now.showSeen(world.now.seen);
    canvases.goal.showSeen(world.goal.seen);
    const path = Float32Array.from(trip.path);
    const iteration = this.fanned && plan?.iterations?.[this.iteration - 1];
    const chosen = plan?.path && this.iteration === plan.lowest.length && plan; // it is what the iterations lead to
    this.scene.draw({ frame, path, goal: world.goal.position, plan: chosen, iteration }, this.colors);
    this.hands.draw(this.scene);
    if (trip.latents.length && this.goalPlace) {
      this.map.draw({ latents: Float32Array.from(trip.latents), goal: this.goalPlace, plan }, this.colors);
    }
    this.drawNumbers();
  }

  drawNumbers() {
    const { trip, charted, times } = this;
    this.note("steps", String(trip.steps));
    this.note("plans", String(trip.plans));
    if (charted) {
      this.costs.draw(charted, this.iteration, this.colors);
      this.note("iteration", `${this.iteration} of ${charted.lowest.length}`);
    }
    if (!times.length) return;
    const mean = times.reduce((sum, one) => sum + one, 0) / times.length;
    this.note("time", `${short(+mean.toPrecision(2))} ms`);
    this.note("rate", mean ? short(+(1000 / mean).toPrecision(2)) : "–"); // clocks of browsers are coarse
    this.note("device", this.device);
  }

  // What the user does

  listen() {
    const { controls, root } = this;
    const on = (control, event, act) => control.addEventListener(event, act);
    on(controls.play, "click", () => this.toggle());
    on(controls.once, "click", () => this.onward(() => this.stepOnce()));
    on(controls.anew, "click", () => this.begin());
    on(controls.clear, "click", () => {
      this.clearWalls();
      root.querySelector("[name=pointer]:checked").focus(); // the button goes away
    });
    on(controls.help, "click", () => this.press("?"));
    on(controls.close, "click", () => root.querySelector("dialog").close());
    on(controls.reset, "click", () => this.reset());
    on(controls.blind, "change", () => this.restyle());
    on(controls.dim, "change", () => this.restyle());
    on(root.querySelector(".settings"), "input", () => this.rearrange());
    on(root.querySelector(".settings"), "submit", (event) => event.preventDefault());
    for (const one of root.querySelectorAll("[name=pointer]")) on(one, "change", () => this.point());
    on(matchMedia("(prefers-color-scheme: dark)"), "change", () => this.restyle());
    on(document, "keydown", (event) => this.key(event));
  }

  key(event) {
    const { target, key } = event;
    if (event.ctrlKey || event.altKey || event.metaKey || this.root.querySelector("dialog").open) return;
    if (target.matches("select")) return; // they have own uses for keys
    if (target.matches("button, input") && (key === " " || key === "Enter")) return;
    const done = target.matches(".scene") && this.hands.key(event);
    if (done || this.press(key, event.repeat)) event.preventDefault();
  }

  /** Does what a key asks for, but once however long it is held; false if it means nothing here. */
  press(key, held = false) {
    const { controls, world } = this;
    const acts = {
      " ": () => this.toggle(),
      s: () => this.onward(() => this.stepOnce()),
      n: () => this.begin(),
      "?": () => this.root.querySelector("dialog").showModal(),
    };
    if (world.editable) {
      acts.w = () => {
        this.choose("pointer", this.chosen("pointer") === "wall" ? "goal" : "wall");
        this.point();
      };
      acts.c = () => this.clearWalls();
    }
    if (!(key in acts) || (controls.play.disabled && key !== "?")) return false;
    if (!held) acts[key]();
    this.redraw();
    return true;
  }
}

/** A small canvas that shows an image, not on the page unless it is named. */
class Picture {
  constructor(name, root) {
    this.canvas = name ? root.querySelector(`.${name}`) : document.createElement("canvas");
  }

  /** @param {ImageData} image */
  show(image) {
    if (this.shown !== image) {
      this.shown = image;
      Object.assign(this.canvas, { width: image.width, height: image.height });
      this.canvas.getContext("2d").putImageData(image, 0, 0);
    }
    return this.canvas;
  }

  /** @param {Uint8Array} seen  RGB, row by row */
  showSeen(seen) {
    if (this.seen === seen) return;
    this.seen = seen;
    const side = Math.sqrt(seen.length / 3);
    const image = new ImageData(side, side);
    image.data.fill(255);
    seen.forEach((level, k) => (image.data[Math.floor(k / 3) * 4 + (k % 3)] = level));
    this.show(image);
  }
}

/** A number and a word in singular or plural. */
function counted(number, word) {
  return `${number} ${word}${number === 1 ? "" : "s"}`;
}

const elements = [...document.querySelectorAll(".packed")];
const packed = Object.fromEntries(elements.map((one) => [one.dataset.name, one.textContent]));
const given = JSON.parse(document.querySelector(".given").textContent);
window.demo = new Demo(document.querySelector(".demo"), given, packed);
