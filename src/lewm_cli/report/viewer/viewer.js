/*
 * The planning viewer, which draws with drawing.js. Its page holds films as JSON, as lewm_cli/diagnose/film_result.py
 * describes them.
 */

/** Steps of environment and iterations of the solver per second, at speed 1. */
const STEPS_PER_SECOND = 10;
const ITERATIONS_PER_SECOND = 5;

/** Milliseconds without a change before the address tells it: browsers allow few changes of it per second. */
const SETTLED = 300;

// Reading films

/** @param {Points} points (S, K, 2)  @returns {Float32Array[]} S paths */
function decodedPaths(points) {
  const [count, length] = points.shape;
  const flat = decoded(points);
  return Array.from({ length: count }, (_, k) => flat.subarray(2 * length * k, 2 * length * (k + 1)));
}

/** One plan of an episode. */
class Plan {
  constructor({ step, seconds, lowest, mean, iterations, path, imagined }) {
    Object.assign(this, { step, seconds, lowest, mean, path: decoded(path), imagined: imagined.map(decoded) });
    // By rank over all iterations: costs span decades, and what matters is that they fall.
    const ordered = iterations.flatMap(({ costs }) => costs).sort((one, other) => one - other);
    /** @type {Iteration[]} */
    this.iterations = iterations.map(({ iteration, elites, costs, paths }) => {
      return { number: iteration, elites, paths: decodedPaths(paths), ranks: ranked(costs, ordered) };
    });
  }
}

/** One pair, decoded: its frames come a little later than the rest. */
class Film {
  constructor(stored, loaded) {
    this.stored = stored;
    this.last = stored.frames.count - 1;
    this.path = decoded(stored.path);
    this.latents = stored.latents.map(decoded);
    this.goalLatent = stored.goal_latent.map(decoded);
    this.plans = stored.plans.map((plan) => new Plan(plan));
    /** @type {ImageBitmap[]} */
    this.frames = [];
    this.dropped = false;
    this.load(loaded);
  }

  /** Cuts the sheet into frames: drawn as parts of it they would blend into their neighbors at the edges. */
  async load(loaded) {
    const { count, columns, sheet } = this.stored.frames;
    const image = new Image();
    image.src = source(sheet);
    try {
      await image.decode();
    } catch {
      return; // what is no picture leaves the frames dark
    }
    const side = image.naturalWidth / columns; // of very many frames, smaller than the frame
    const place = (k) => [(k % columns) * side, Math.floor(k / columns) * side, side, side];
    const cut = Array.from({ length: count }, (_, k) => createImageBitmap(image, ...place(k)));
    this.frames = await Promise.all(cut);
    if (this.dropped) this.drop();
    loaded();
  }

  /** Gives the memory of the frames back. */
  drop() {
    this.dropped = true;
    for (const frame of this.frames) frame.close();
    this.frames = [];
  }

  /** The plan in force at a step: the last one made until then. */
  planAt(step) {
    return this.plans.findLast((plan) => plan.step <= step);
  }
}

function source(picture) {
  return `data:image/webp;base64,${picture}`;
}

/** @param {PlanFilm} film  @param {number} budget  environment steps that were allowed */
function verdict({ success, first_hit: hit }, budget) {
  if (!success) return `goal not reached within ${budget} steps`;
  if (hit === null) return "goal reached";
  return hit === 0 ? "goal reached at the start" : `goal reached after ${hit} step${hit === 1 ? "" : "s"}`;
}

// The page

/** One side of the viewer: everything that shows films of one run. */
class Side {
  constructor({ name, budget, radius, result }, picture, details, resized) {
    Object.assign(this, { name, budget, films: result.films, maps: result.latent_maps, shown: 0, picture, details });
    this.scene = new Scene(picture.querySelector(".scene"), resized, result.frame_size, radius);
    this.map = new LatentMap(details.querySelector(".map"), resized, this.maps[0]);
    this.costs = new CostChart(details.querySelector(".costs"), resized);
    this.film = null;
  }

  choose(index, loaded) {
    this.film?.drop();
    this.film = new Film(this.films[index], loaded);
    this.fitMap();
    const told = this.picture.querySelector(".verdict");
    told.textContent = verdict(this.film.stored, this.budget);
    told.className = `verdict ${this.film.stored.success ? "reached" : "missed"}`;
    this.details.querySelector(".goal").src = source(this.film.stored.goal);
    for (const part of this.details.querySelectorAll(".planned")) part.hidden = !this.film.plans.length;
  }

  /** Shows the latent map of so many a place in their order, which is the same in all films. */
  showMap(index) {
    this.shown = index;
    this.map.show(this.maps[index]);
    this.fitMap();
  }

  fitMap() {
    const { latents, goalLatent, plans } = this.film;
    this.map.fit([latents, goalLatent, ...plans.map((plan) => plan.imagined)].map((maps) => maps[this.shown]));
  }

  /** What is shown at a step; `share` is how far through the iterations of a plan made at step `newest`. */
  view(step, newest, share) {
    const at = Math.min(step, this.film.last);
    const plan = this.film.planAt(at);
    const last = plan ? plan.iterations.length - 1 : -1;
    const iteration = plan?.iterations[plan.step === newest ? Math.round(share * last) : last];
    return { at, plan, iteration };
  }

  draw({ at, plan, iteration }, look) {
    const { film, shown } = this;
    const [frame, goal] = [film.frames[at], film.stored.goal_position];
    this.scene.draw({ frame, path: film.path.subarray(0, 2 * at + 2), goal, plan, iteration }, look);
    const way = film.latents[shown].subarray(0, 2 * at + 2);
    const imagining = plan && { imagined: plan.imagined[shown] };
    this.map.draw({ latents: way, goal: film.goalLatent[shown], plan: imagining }, look);
    const count = iteration ? `, ${iteration.paths.length} candidates of iteration ${iteration.number}` : "";
    this.scene.surface.canvas.setAttribute("aria-label", `Frame at step ${at}${count}`);
    this.tell("step", `${at} of ${film.last}`);
    if (!plan) return;
    const number = iteration?.number ?? plan.lowest.length;
    this.costs.draw(plan, number, look);
    this.tell("plan", `${film.plans.indexOf(plan) + 1} of ${film.plans.length}`);
    this.tell("iteration", `${number} of ${plan.lowest.length}`);
    this.tell("time", `${short(+(1000 * plan.seconds).toPrecision(3))} ms`);
  }

  tell(what, words) {
    this.details.querySelector(`.told-${what}`).textContent = words;
  }
}

/** Pairs to choose from, all of them or those of one kind. */
class PairList {
  constructor(root, sides, choose) {
    this.list = root.querySelector(".list");
    this.filter = root.querySelector(".filter");
    this.items = sides[0].films.map((_, index) => this.item(sides, index, choose));
    this.list.append(...this.items);
    this.kinds = new Map([["all", () => true], ...outcomes(sides), ...groups(sides[0].films)]);
    for (const [name, holds] of this.kinds) {
      const count = this.items.filter((_, index) => holds(index)).length;
      if (count) this.filter.add(new Option(`${name} (${count})`, name));
    }
    this.filter.addEventListener("change", () => {
      const holds = this.kinds.get(this.filter.value);
      this.items.forEach((item, index) => (item.hidden = !holds(index)));
      if (this.items[this.chosen].hidden) choose(this.items.findIndex((item) => !item.hidden));
    });
  }

  item(sides, index, choose) {
    const item = document.createElement("div");
    const add = (kind, words) => {
      const part = item.appendChild(document.createElement("span"));
      part.className = kind;
      part.textContent = words;
    };
    item.setAttribute("role", "option");
    add("number", `pair ${sides[0].films[index].number}`);
    for (const side of sides) {
      const film = side.films[index];
      add(`outcome ${film.success ? "reached" : "missed"}`, verdict(film, side.budget).replace(/^goal | within.*/g, ""));
    }
    add("groups", sides[0].films[index].groups.join(", "));
    item.addEventListener("click", () => choose(index));
    return item;
  }

  mark(index) {
    this.chosen = index;
    this.items.forEach((item, k) => {
      item.setAttribute("aria-selected", k === index);
      item.tabIndex = k === index ? 0 : -1;
    });
    const { offsetTop, offsetLeft, offsetHeight, offsetWidth } = this.items[index];
    // Only the list moves, never the page.
    this.list.scrollTo({
      top: offsetTop - (this.list.clientHeight - offsetHeight) / 2,
      left: offsetLeft - (this.list.clientWidth - offsetWidth) / 2,
      behavior: "instant",
    });
    if (this.list.contains(document.activeElement)) this.items[index].focus({ preventScroll: true });
  }

  /** The pair so many places further in the list, or the last one there. */
  neighbor(by) {
    const shown = this.items.flatMap((item, index) => (item.hidden ? [] : [index]));
    const place = Math.min(Math.max(shown.indexOf(this.chosen) + by, 0), shown.length - 1);
    return shown[place];
  }
}

/** Kinds of pairs by whether their goals were reached. */
function outcomes(sides) {
  const [first, second] = sides.map(({ films }) => (index) => films[index].success);
  if (!second) return [["reached", first], ["not reached", (index) => !first(index)]];
  return [
    ["reached by both", (index) => first(index) && second(index)],
    ["reached by the left only", (index) => first(index) && !second(index)],
    ["reached by the right only", (index) => !first(index) && second(index)],
    ["reached by neither", (index) => !first(index) && !second(index)],
  ];
}

/** Kinds of pairs by the groups of the evaluation. */
function groups(films) {
  const names = new Set(films.flatMap((film) => film.groups));
  return [...names].map((name) => [`group: ${name}`, (index) => films[index].groups.includes(name)]);
}

/** The whole viewer: which pair, step and iteration is shown, and what changes it. */
class Viewer {
  constructor(root) {
    this.root = root;
    this.alone = "alone" in root.dataset;
    const given = JSON.parse(root.querySelector(".given").textContent);
    const pictures = root.querySelectorAll(".picture");
    const details = root.querySelectorAll(".details");
    root.hidden = false; // sizes are known from here on
    this.sides = given.map((one, k) => new Side(one, pictures[k], details[k], () => this.redraw()));
    this.controls = Object.fromEntries([...root.querySelectorAll("[name]")].map((one) => [one.name, one]));
    this.list = new PairList(root, this.sides, (index) => this.by(() => this.choosePair(index)));
    this.playing = this.waiting = false;
    this.listen();
    this.restyle();
    const films = this.sides[0].films;
    this.choosePair(Math.max(0, films.findIndex((film) => film.plans.length)));
    this.readAddress();
  }

  // What is shown

  choosePair(index) {
    this.pair = index;
    for (const side of this.sides) side.choose(index, () => this.redraw());
    this.list.mark(index);
    this.last = Math.max(...this.sides.map((side) => side.film.last));
    this.plannedSteps = new Set(this.sides.flatMap((side) => side.film.plans.map((plan) => plan.step)));
    this.root.querySelector(".iterating").hidden = !this.plannedSteps.size;
    for (const part of this.root.querySelectorAll(".of-plans")) part.hidden = !this.plannedSteps.size;
    this.controls.steps.max = this.last;
    this.drawMarks();
    this.goTo(0);
  }

  chooseMap(index) {
    for (const side of this.sides) side.showMap(index);
    this.redraw();
  }

  /** Shows a step, at the last iteration of its plan unless another is given. */
  goTo(step, iteration = Infinity) {
    this.step = Math.min(Math.max(step, 0), this.last);
    const plans = this.sides.map((side) => side.film.planAt(Math.min(this.step, side.film.last)));
    this.newest = Math.max(...plans.map((plan) => plan?.step ?? -1));
    const newest = plans.filter((plan) => plan?.step === this.newest).map((plan) => plan.iterations);
    this.leading = newest.reduce((most, one) => (one.length > most.length ? one : most), []);
    this.iteration = Math.max(0, Math.min(iteration, this.leading.length - 1));
    this.redraw();
    clearTimeout(this.settling);
    if (this.settled) this.settling = setTimeout(() => this.writeAddress(), SETTLED);
  }

  /** Moves by environment steps, staying at the iteration while the plan in force stays. */
  moveBy(steps) {
    const before = this.newest;
    const { iteration } = this;
    this.goTo(this.step + steps);
    if (this.newest === before) this.goTo(this.step, iteration);
  }

  get lastIteration() {
    return this.iteration >= this.leading.length - 1;
  }

  // Drawing

  redraw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.waiting = false;
    const share = this.leading.length > 1 ? this.iteration / (this.leading.length - 1) : 1;
    for (const side of this.sides) side.draw(side.view(this.step, this.newest, share), this.look);
    const { steps, iterations, play } = this.controls;
    const step = `step ${this.step} of ${this.last}`;
    this.show(steps, this.step, this.newest < 0 ? step : `${step}, plan of step ${this.newest}`);
    this.root.querySelector(".step-now").textContent = step;
    iterations.max = Math.max(0, this.leading.length - 1);
    const iteration = `iteration ${this.leading[this.iteration]?.number ?? "unknown"}`;
    this.show(iterations, this.iteration, iteration);
    this.root.querySelector(".iteration-now").textContent = iteration;
    play.textContent = this.playing ? "Pause" : "Play";
  }

  show(bar, value, words) {
    bar.value = value;
    bar.style.setProperty("--share", bar.max > 0 ? value / bar.max : 1);
    bar.setAttribute("aria-valuetext", words);
  }

  /** Marks the steps where plans are made, those of a second side below. */
  drawMarks() {
    const marks = this.sides.flatMap((side, k) =>
      side.film.plans.map(({ step }) => {
        const mark = document.createElement("i");
        mark.className = `mark-${k}`;
        mark.style.setProperty("--share", this.last ? step / this.last : 0);
        return mark;
      }),
    );
    this.root.querySelector(".marks").replaceChildren(...marks);
  }

  /** Takes the colors from the theme and the switches. */
  restyle() {
    this.look = styled(this.root, this.controls.blind.checked, this.controls.dim.checked);
    if (this.step !== undefined) this.redraw();
  }

  // Playing

  toggle() {
    this.playing = !this.playing;
    if (this.playing) {
      if (this.step === this.last) this.goTo(0);
      if (this.controls.through.checked && this.step === this.newest) this.goTo(this.step, 0);
      this.due = performance.now() + this.pause();
      requestAnimationFrame((now) => this.tick(now));
    }
    this.redraw();
  }

  /** Milliseconds until the next change. */
  pause() {
    const iterating = this.step === this.newest && !this.lastIteration;
    return 1000 / (iterating ? ITERATIONS_PER_SECOND : STEPS_PER_SECOND) / Number(this.controls.speed.value);
  }

  tick(now) {
    if (!this.playing) return;
    if (now >= this.due) {
      this.advance();
      this.due = now + this.pause();
    }
    requestAnimationFrame((next) => this.tick(next));
  }

  /** The next iteration of a plan that is just being made, else the next step. */
  advance() {
    if (this.step === this.newest && !this.lastIteration) {
      this.goTo(this.step, this.iteration + 1);
    } else if (this.step < this.last) {
      const reached = this.plannedSteps.has(this.step + 1) && this.controls.through.checked;
      this.goTo(this.step + 1, reached ? 0 : Infinity);
    }
    if (this.step === this.last && (this.lastIteration || this.step !== this.newest)) {
      this.playing = false;
      this.redraw();
    }
  }

  // What the user does

  listen() {
    const { steps, iterations, play, back, forth, blind, dim, map, help, close } = this.controls;
    const on = (control, event, act) => control.addEventListener(event, act);
    on(play, "click", () => this.toggle());
    on(back, "click", () => this.press("ArrowLeft"));
    on(forth, "click", () => this.press("ArrowRight"));
    on(steps, "input", () => this.by(() => this.goTo(Number(steps.value))));
    on(iterations, "input", () => this.by(() => this.goTo(this.step, Number(iterations.value))));
    on(blind, "change", () => this.restyle());
    on(dim, "change", () => this.restyle());
    if (map) on(map, "change", () => this.chooseMap(map.selectedIndex));
    on(help, "click", () => this.press("?"));
    on(close, "click", () => this.root.querySelector("dialog").close());
    on(matchMedia("(prefers-color-scheme: dark)"), "change", () => this.restyle());
    on(window, "hashchange", () => this.readAddress());
    // On a page with more than the viewer, keys are the viewer's only while the focus is in it.
    on(this.alone ? document : this.root, "keydown", (event) => this.key(event));
  }

  key(event) {
    const { target, key } = event;
    if (event.ctrlKey || event.altKey || event.metaKey || this.root.querySelector("dialog").open) return;
    const kind = target.closest("select, button, input, .list");
    if (kind?.matches("select, [name=iterations]")) return; // they have own uses for these keys
    if (kind?.matches("button, [type=checkbox]") && key === " ") return;
    const inList = kind?.matches(".list") && { ArrowUp: "PageUp", ArrowDown: "PageDown" }[key];
    if (this.press(inList || key)) event.preventDefault();
  }

  /** Does what a key asks for; false if it means nothing here. */
  press(key) {
    const name = { "[": "PageUp", "]": "PageDown" }[key] ?? key;
    const moves = {
      ArrowLeft: () => this.moveBy(-1),
      ArrowRight: () => this.moveBy(1),
      ArrowUp: () => this.goTo(this.step, this.iteration + 1),
      ArrowDown: () => this.goTo(this.step, this.iteration - 1),
      Home: () => this.goTo(0),
      End: () => this.goTo(this.last),
      PageUp: () => this.choosePair(this.list.neighbor(-1)),
      PageDown: () => this.choosePair(this.list.neighbor(1)),
    };
    if (name === " ") this.toggle();
    else if (name === "?") this.root.querySelector("dialog").showModal();
    else if (name in moves) this.by(moves[name]);
    else return false;
    return true;
  }

  /** Moves because the user wants it, which ends playing. */
  by(move) {
    this.playing = false;
    move();
  }

  // The address

  /** Shows what the address tells, if it makes sense. */
  readAddress() {
    const told = new URLSearchParams(location.hash.slice(1));
    const number = (name) => (/^\d{1,9}$/.test(told.get(name) ?? "") ? Number(told.get(name)) : NaN);
    const pair = this.sides[0].films.findIndex((film) => film.number === number("pair"));
    this.settled = false; // what comes from the address is not written there again
    if (pair >= 0 && number("step") < Math.max(...this.sides.map(({ films }) => films[pair].frames.count))) {
      this.playing = false;
      this.choosePair(pair);
      this.goTo(number("step"));
      const iteration = this.leading.findIndex((one) => one.number === number("iteration"));
      if (iteration >= 0) this.goTo(this.step, iteration);
      if (!this.alone) this.root.scrollIntoView();
    }
    this.settled = true;
  }

  writeAddress() {
    const told = new URLSearchParams({ pair: this.sides[0].films[this.pair].number, step: this.step });
    const iteration = this.leading[this.iteration];
    if (iteration) told.set("iteration", iteration.number);
    history.replaceState(null, "", `#${told}`);
  }
}

for (const root of document.querySelectorAll(".viewer")) root.viewer = new Viewer(root);
