/*
 * Hands on the frame of the page: by mouse, by touch and by keys.
 */

/** Pixels of the frame: of a press of an arrow key, around the agent where it is taken, and between ends of a wall. */
const NUDGE = 4;
const GRIP = 14;
const STROKE = 4;

/** What pointer and arrow keys do on the frame: set the goal, drag the agent, draw walls. */
class Hands {
  constructor(demo, canvas) {
    Object.assign(this, { demo, canvas, held: null, pen: null, begun: null });
    const on = (event, act, options) => canvas.addEventListener(event, act, options);
    on("pointerdown", (event) => this.down(event));
    on("pointermove", (event) => this.move(event));
    on("pointerup", (event) => this.up(event));
    on("pointercancel", () => this.release());
    // A finger scrolls the page unless it takes the agent or draws.
    on("touchstart", (event) => this.held && this.held.kind !== "goal" && event.preventDefault(), { passive: false });
    on("focus", () => demo.redraw());
    on("blur", () => demo.redraw());
  }

  /** Whether the pointer holds a thing. */
  hold(kind) {
    return this.held?.kind === kind;
  }

  get drawing() {
    return this.demo.chosen("pointer") === "wall";
  }

  place({ offsetX, offsetY }) {
    const scale = this.demo.world.size / this.canvas.clientWidth;
    return [offsetX * scale, offsetY * scale];
  }

  onAgent(at, touch) {
    const { now, size } = this.demo.world;
    const grip = touch ? Math.max(GRIP, (22 * size) / this.canvas.clientWidth) : GRIP;
    return apart(at, now.position) <= grip;
  }

  down(event) {
    if (!this.demo.world.editable || !this.demo.trip || event.button !== 0 || !event.isPrimary) return;
    const at = this.place(event);
    const touch = event.pointerType === "touch";
    const kind = this.drawing ? "wall" : this.onAgent(at, touch) ? "agent" : "goal";
    this.held = { kind, at, touch };
    this.canvas.setPointerCapture(event.pointerId);
    this.canvas.classList.toggle("held", kind === "agent");
    if (kind === "goal" && !touch) this.aim(at);
  }

  move(event) {
    const { demo, held, canvas } = this;
    if (!demo.world.editable || !demo.trip || !event.isPrimary) return;
    const at = this.place(event);
    canvas.classList.toggle("grab", !held && !this.drawing && this.onAgent(at, false));
    if (this.hold("agent")) demo.setAgent(at);
    else if (this.hold("goal") && !held.touch) this.aim(at);
    else if (this.hold("wall") && apart(at, held.at) >= STROKE) {
      demo.drawWall(held.at, at);
      held.at = at;
    }
  }

  up(event) {
    const { demo, held } = this;
    if (!held || !event.isPrimary) return;
    if (held.kind === "goal" && held.touch) this.aim(this.place(event));
    this.release();
    if (held.kind === "goal" && demo.arrived && !demo.world.now.reached) demo.play();
  }

  release() {
    this.held = null;
    this.canvas.classList.remove("held");
    this.demo.wake?.();
  }

  /** Sets the goal where it was asked for, or at the nearest free place. */
  aim(at) {
    for (let away = 0; away <= 24; away += 2) {
      for (let turn = 0; turn < 16; turn++) {
        const angle = (turn * Math.PI) / 8;
        if (this.demo.setGoal([at[0] + away * Math.cos(angle), at[1] + away * Math.sin(angle)])) return;
      }
    }
  }

  // Keys on the frame

  key({ key, shiftKey, repeat }) {
    const { demo } = this;
    if (!demo.world.editable || !demo.trip) return false;
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
    if (way) this.nudge(way, shiftKey);
    else if (key !== "Enter" || !this.drawing) return false;
    else if (!repeat) this.mark();
    demo.redraw();
    return true;
  }

  nudge(way, agent) {
    const { demo } = this;
    const { world } = demo;
    if (this.drawing) {
      const from = this.pen ?? [world.size / 2, world.size / 2];
      this.pen = way.map((by, axis) => Math.min(Math.max(from[axis] + by * NUDGE, 0), world.size));
      return;
    }
    const { position } = agent ? world.now : world.goal;
    const set = (place) => (agent ? demo.setAgent(place) : demo.setGoal(place));
    // Over a wall, if there is one.
    for (let steps = 1; steps <= 10; steps++) {
      if (set(way.map((by, axis) => position[axis] + steps * by * NUDGE))) return;
    }
  }

  /** Begins or ends a wall at the pen. */
  mark() {
    this.pen ??= [this.demo.world.size / 2, this.demo.world.size / 2];
    if (this.begun) this.demo.drawWall(this.begun, this.pen);
    this.begun = this.begun ? null : this.pen;
  }

  /** The pen of those who draw by keys. */
  draw({ surface: { context, width } }) {
    if (!this.drawing || !this.pen || document.activeElement !== this.canvas) return;
    const place = (x, y) => [x, y].map((length) => (length * width) / this.demo.world.size);
    if (this.begun) stroke(context, [...this.begun, ...this.pen], place, MARKS.goal, 3);
    cross(context, place(...this.pen), 9, MARKS.veil, 5);
    cross(context, place(...this.pen), 9, MARKS.goal, 2.5);
  }
}

function apart([x, y], [otherX, otherY]) {
  return Math.hypot(x - otherX, y - otherY);
}
