/*
 * TwoRoom in the page: the simulator that recordings of the task come from, swm/TwoRoom-v1 of stable_worldmodel 0.1.1
 * in its default world. Positions are x, y in pixels of its frame, and rounded to float32 as often as there.
 *
 * Walls that the user draws are what that simulator does not have: strokes with round ends, solid for the whole disk.
 *
 * @typedef {{frame: ImageData, seen: Uint8Array, position: number[], distance: number, reached: boolean}} Moment
 *     frame: as the camera sees it; seen: RGB, image_size x image_size x 3, what the encoder takes;
 *     distance: to the goal, in pixels
 * @typedef {number[]} Place  x and y
 */

/** Lengths in pixels: the default world. */
const ROOMS = {
  size: 224,
  border: 14, // of the outer walls' inner edge
  line: 4, // thickness of the outer walls
  radius: 7, // of the agent's disk, and the deviation of the dot that it is drawn as
  speed: 5, // of an action of length 1, per step
  wall: 112, // x of the middle of the wall between the rooms
  halfWall: 5,
  door: 49, // y of its middle
  halfDoor: 14,
  doorMargin: 1.75, // by which the disk's center may pass beside the opening
  pushback: 0.5, // from the wall that it ran into
  leastWay: 125, // from start to goal through the door: 25 steps, as in recordings
};

/** Half the width of a stroke that is drawn as a wall, pixels. */
const HALF_STROKE = 4;

/** Least distance, pixels, of the disk's center from the middle of a stroke. */
const TOUCHING = ROOMS.radius + HALF_STROKE;

/** Pixels that the disk stops before it touches: positions are rounded afterwards, and what stopped must get away. */
const BEFORE_TOUCHING = 1e-3;

/** Halvings of a step, to find its end at a stroke to less than a thousandth of a pixel. */
const HALVINGS = 16;

/** Starts and goals that are tried before the walls in their way are taken away. */
const MOST_TRIES = 10000;

/** Pixels around the agent in which the dot changes a frame, given the rounding of float32. */
const DOT_REACH = 42;

/** The world of two rooms. */
class TwoRoom {
  size = ROOMS.size;
  editable = true;
  kinematics = { speed: ROOMS.speed, low: ROOMS.border + ROOMS.radius, high: ROOMS.size - ROOMS.border - ROOMS.radius };
  /** @type {Place[][]} the two ends of every stroke */
  walls = [];
  /** @type {Moment} */
  now = null;
  /** @type {Moment} of the agent at the goal */
  goal = null;

  /** @param {object} given  LiveModel */
  constructor({ image_size: imageSize, goal_radius: goalRadius }) {
    this.goalRadius = goalRadius;
    this.shrink = new Resizing(ROOMS.size, imageSize);
    this.scenery = rooms();
  }

  /** A start and a goal in different rooms, drawn as for recordings; drawn walls stay, and none lies on either. */
  async begin(seed) {
    const uniform = seededUniform(seed);
    const [lowest, highest] = startRange();
    const place = () => [0, 1].map(() => Math.fround(lowest + (highest - lowest) * uniform()));
    const fits = (at) => !besideWall(at) && this.isFree(at);
    for (let tries = 0; ; tries++) {
      if (tries === MOST_TRIES) this.removeWalls(); // they leave no room
      const [start, goal] = [place(), place()];
      const apart = start[0] < ROOMS.wall !== goal[0] < ROOMS.wall && throughDoor(start, goal) >= ROOMS.leastWay;
      if (apart && fits(start) && fits(goal)) return this.set(start, goal);
    }
  }

  /**
   * @param {Float32Array} actions  x, y, x, y... of environment steps; the world clips them to [-1, 1]
   * @returns {Promise<Moment[]>} after every step until the goal is reached
   */
  async act(actions) {
    const moments = [];
    for (let k = 0; k + 1 < actions.length; k += 2) {
      this.now = this.moment(this.step(this.now.position, actions[k], actions[k + 1]), this.goal.position);
      moments.push(this.now);
      if (this.now.reached) break;
    }
    return moments;
  }

  /** @returns {Float32Array} x, y, x, y... of where actions lead to from now on; nothing moves, and no goal ends it */
  follow(actions) {
    const path = new Float32Array(actions.length + 2);
    let place = this.now.position;
    path.set(place);
    for (let k = 0; k + 1 < actions.length; k += 2) {
      place = this.step(place, actions[k], actions[k + 1]);
      path.set(place, k + 2);
    }
    return path;
  }

  /** @returns {boolean} false, and the agent stays, if the place is not free */
  placeAgent(place) {
    const at = place.map(Math.fround);
    if (!this.isFree(at)) return false;
    this.set(at, this.goal.position);
    return true;
  }

  /** @returns {boolean} false, and the goal stays, if the place is not free */
  placeGoal(place) {
    const at = place.map(Math.fround);
    if (!this.isFree(at)) return false;
    this.set(this.now.position, at);
    return true;
  }

  /** Draws a stroke; what of it would lie on the agent or so near the goal that no disk fits there is cut away. */
  drawWall(from, to) {
    let parts = [[0, 1]];
    for (const { position } of [this.now, this.goal]) {
      const covered = within(position, TOUCHING + 2 * BEFORE_TOUCHING, from, to);
      if (covered) parts = parts.flatMap((part) => cutOut(part, covered));
    }
    const at = (t) => from.map((start, axis) => start + t * (to[axis] - start));
    const strokes = parts.map((part) => part.map(at));
    this.walls = [...this.walls, ...strokes];
    this.scenery = strokes.reduce(withStroke, this.scenery);
    this.set(this.now.position, this.goal.position);
  }

  clearWalls() {
    this.removeWalls();
    this.set(this.now.position, this.goal.position);
  }

  removeWalls() {
    this.walls = [];
    this.scenery = rooms();
  }

  set(agent, goal) {
    this.now = this.moment(agent, goal);
    this.goal = this.moment(goal, goal);
  }

  /** Whether the simulator could begin there, or the disk fits into the door there, with no stroke in its way. */
  isFree(place) {
    const [lowest, highest] = startRange();
    const inside = place.every((coordinate) => coordinate >= lowest && coordinate <= highest);
    const inDoor = Math.abs(place[1] - ROOMS.door) <= ROOMS.halfDoor - ROOMS.radius;
    return inside && (inDoor || !besideWall(place)) && clearance(this.walls, place, place) >= TOUCHING;
  }

  /** @returns {Moment} */
  moment(position, goal) {
    const distance = Math.fround(Math.hypot(position[0] - goal[0], position[1] - goal[1]));
    const frame = drawn(this.scenery, position);
    return { frame, seen: this.shrink.apply(frame.data), position, distance, reached: distance < this.goalRadius };
  }

  /** Where one action leads to. */
  step(from, x, y) {
    const to = ruled(from, [moved(from[0], x), moved(from[1], y)]);
    return this.walls.length === 0 ? to : slid(this.walls, from, to);
  }
}

// The simulator's rules

/** One coordinate after an action, with the two roundings of the simulator. */
function moved(coordinate, action) {
  return Math.fround(coordinate + Math.fround(Math.min(Math.max(action, -1), 1) * ROOMS.speed));
}

/** Where the simulator puts a disk on its way from a place to another: it looks at the walls only where that ends. */
function ruled(from, to) {
  const margin = ROOMS.border + ROOMS.radius;
  const [x, y] = to.map((coordinate) => Math.min(Math.max(coordinate, margin), ROOMS.size - margin));
  const side = from[0] < ROOMS.wall ? -1 : 1;
  const edge = ROOMS.wall + side * (ROOMS.halfWall + ROOMS.radius);
  const inDoor = Math.abs(y - ROOMS.door) <= ROOMS.halfDoor + ROOMS.doorMargin;
  return side * (x - edge) < 0 && !inDoor ? [edge + side * ROOMS.pushback, y] : [x, y];
}

/** Lowest and highest coordinate of starts and goals: they may touch the outer walls. */
function startRange() {
  return [ROOMS.border, ROOMS.size - ROOMS.border - 1];
}

/** Whether a disk would overlap the wall between the rooms if it had no door. */
function besideWall(place) {
  return Math.abs(place[0] - ROOMS.wall) <= ROOMS.halfWall + ROOMS.radius;
}

function throughDoor(start, goal) {
  const away = ([x, y]) => Math.hypot(x - ROOMS.wall, y - ROOMS.door);
  return away(start) + away(goal);
}

/** Uniform numbers in [0, 1): a Weyl sequence of 32 bits whose members are mixed. */
function seededUniform(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    return ((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32;
  };
}

// Drawn walls

/** Where a disk gets to that may not overlap strokes: straight until it touches, then along what it touches. */
function slid(walls, from, to) {
  let [at, wanted] = [from, to];
  for (let leg = 0; leg < 3; leg++) {
    const { end, touched } = advanced(walls, at, wanted);
    at = end;
    if (!touched) break;
    const near = nearestPoint(at, ...touched);
    const [outX, outY] = [at[0] - near[0], at[1] - near[1]];
    const rest = (outX * (wanted[1] - at[1]) - outY * (wanted[0] - at[0])) / (outX ** 2 + outY ** 2);
    wanted = ruled(at, [at[0] - rest * outY, at[1] + rest * outX]);
  }
  if (at === to) return to;
  const end = at.map(Math.fround);
  return clearance(walls, end, end) >= TOUCHING ? end : from;
}

/** The last place on a straight way before a stroke, and that stroke; the way's end if none is in the way. */
function advanced(walls, from, to) {
  const near = walls.filter((wall) => isNear(wall, from, to));
  // What touches already may go along it and away.
  const enough = Math.min(TOUCHING + BEFORE_TOUCHING, clearance(near, from, from) - 1e-9);
  const inTheWay = near.filter((wall) => distanceOfLines(from, to, ...wall) < enough);
  if (inTheWay.length === 0) return { end: to, touched: null };
  let [free, blocked] = [0, 1];
  const at = (t) => [from[0] + t * (to[0] - from[0]), from[1] + t * (to[1] - from[1])];
  for (let k = 0; k < HALVINGS; k++) {
    const middle = (free + blocked) / 2;
    if (clearance(inTheWay, from, at(middle)) >= enough) free = middle;
    else blocked = middle;
  }
  const touched = inTheWay.find((wall) => distanceOfLines(from, at(blocked), ...wall) < enough);
  return { end: at(free), touched };
}

/** Least distance between a straight way and the middle lines of strokes. */
function clearance(walls, from, to) {
  return walls.reduce((least, wall) => Math.min(least, distanceOfLines(from, to, ...wall)), Infinity);
}

/** Whether a stroke's disk-wide surroundings may meet a straight way: told by boxes, for most strokes are far away. */
function isNear([start, end], from, to) {
  const reach = TOUCHING + 2 * BEFORE_TOUCHING;
  for (let axis = 0; axis < 2; axis++) {
    if (Math.min(from[axis], to[axis]) - reach > Math.max(start[axis], end[axis])) return false;
    if (Math.max(from[axis], to[axis]) + reach < Math.min(start[axis], end[axis])) return false;
  }
  return true;
}

/** Distance of two straight lines, each between two places. */
function distanceOfLines(a, b, c, d) {
  if (sideOf(a, b, c) * sideOf(a, b, d) < 0 && sideOf(c, d, a) * sideOf(c, d, b) < 0) return 0; // they cross
  return Math.min(distance(a, c, d), distance(b, c, d), distance(c, a, b), distance(d, a, b));
}

/** Positive on one side of the line from a to b, negative on the other. */
function sideOf(a, b, place) {
  return (b[0] - a[0]) * (place[1] - a[1]) - (b[1] - a[1]) * (place[0] - a[0]);
}

/** Distance of a place from the line between two places. */
function distance(place, start, end) {
  const [x, y] = nearestPoint(place, start, end);
  return Math.sqrt((place[0] - x) ** 2 + (place[1] - y) ** 2);
}

/** The point of the line between two places that is nearest to a place. */
function nearestPoint(place, start, end) {
  const dx = end[0] - start[0];
  const dy = end[1] - start[1];
  const squared = dx * dx + dy * dy;
  const share = ((place[0] - start[0]) * dx + (place[1] - start[1]) * dy) / (squared || 1);
  const t = Math.min(Math.max(share, 0), 1);
  return [start[0] + t * dx, start[1] + t * dy];
}

/** The part of the line from a start (0) to an end (1) inside a circle; null if none is. */
function within([x, y], radius, [x1, y1], [x2, y2]) {
  const [dx, dy, ox, oy] = [x2 - x1, y2 - y1, x1 - x, y1 - y];
  const [a, b, c] = [dx * dx + dy * dy, ox * dx + oy * dy, ox * ox + oy * oy - radius * radius];
  if (a === 0) return c < 0 ? [-1, 2] : null;
  const root = Math.sqrt(b * b - a * c);
  return Number.isNaN(root) ? null : [(-b - root) / a, (-b + root) / a];
}

/** What is left of a part when another is taken out. */
function cutOut([start, end], [from, to]) {
  const left = [
    [start, Math.min(end, from)],
    [Math.max(start, to), end],
  ];
  return from >= end || to <= start ? [[start, end]] : left.filter(([first, last]) => first < last);
}

// Frames

/** The world without the agent: one byte per pixel, for all is black or white. */
function rooms() {
  const { size, border, line, wall, halfWall, door, halfDoor } = ROOMS;
  const pixels = new Uint8Array(size * size).fill(255);
  const inLine = (k) => (k >= border - line && k < border) || (k >= size - border && k < size - border + line);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const inWall = Math.abs(x - wall) <= halfWall && Math.abs(y - door) > halfDoor;
      if (inWall || inLine(x) || inLine(y)) pixels[y * size + x] = 0;
    }
  }
  return pixels;
}

/** Scenery with one more stroke, black like the walls. */
function withStroke(scenery, [start, end]) {
  const [[left, right], [top, bottom]] = [0, 1].map((axis) => [
    Math.max(0, Math.floor(Math.min(start[axis], end[axis]) - HALF_STROKE)),
    Math.min(ROOMS.size - 1, Math.ceil(Math.max(start[axis], end[axis]) + HALF_STROKE)),
  ]);
  const pixels = scenery.slice();
  for (let y = top; y <= bottom; y++) {
    for (let x = left; x <= right; x++) {
      if (distance([x, y], start, end) <= HALF_STROKE) pixels[y * ROOMS.size + x] = 0;
    }
  }
  return pixels;
}

/** A frame: the scenery and the agent, a red Gaussian dot, blended in float32 and cut off to whole levels. */
function drawn(scenery, [agentX, agentY]) {
  const size = ROOMS.size;
  const frame = new ImageData(size, size);
  const words = new Uint32Array(frame.data.buffer);
  for (let k = 0; k < words.length; k++) words[k] = scenery[k] ? 0xffffffff : 0xff000000;
  const { fround } = Math;
  const dot = (dx, dy) => fround(Math.exp(fround(-fround(fround(dx * dx) + fround(dy * dy)) / (2 * ROOMS.radius ** 2))));
  const away = (coordinate) => fround(Math.round(coordinate) - coordinate);
  const highest = dot(away(agentX), away(agentY)); // scaled to 1 at the pixel that is nearest
  const range = (center) => [Math.max(0, Math.ceil(center - DOT_REACH)), Math.min(size, Math.floor(center + DOT_REACH))];
  const [[left, right], [top, bottom]] = [range(agentX), range(agentY)];
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      const k = y * size + x;
      const share = fround(dot(fround(x - agentX), fround(y - agentY)) / highest);
      const rest = fround(scenery[k] * fround(1 - share));
      frame.data[4 * k] = Math.floor(fround(rest + fround(255 * share)));
      frame.data[4 * k + 1] = frame.data[4 * k + 2] = Math.floor(rest);
    }
  }
  return frame;
}

/** Resizes square frames as OpenCV's INTER_AREA does, which lewm_cli.data.resize takes. */
class Resizing {
  constructor(from, to) {
    Object.assign(this, { from, to });
    this.half = new Float64Array(from * to * 3); // resized in x only
    const scale = from / to;
    // Halved, what lies between two levels goes up; else to the even one, as a clamped array rounds.
    this.nudge = scale === 2 ? 0.1 : 0;
    const parts = Array.from({ length: to }, (_, k) => (scale >= 1 ? averaged(k, scale, from) : blended(k, scale, from)));
    this.width = Math.max(...parts.map(({ weights }) => weights.length));
    this.first = Int32Array.from(parts, ({ first }) => Math.min(first, from - this.width));
    this.weights = new Float64Array(to * this.width);
    parts.forEach(({ first, weights }, k) => this.weights.set(weights, k * this.width + first - this.first[k]));
  }

  /** @param {Uint8ClampedArray} pixels  RGBA  @returns {Uint8Array} RGB */
  apply(pixels) {
    const { from, to, half, width, first, weights, nudge } = this;
    for (let row = 0; row < from; row++) {
      for (let k = 0; k < to; k++) {
        let red = 0;
        let green = 0;
        let blue = 0;
        for (let j = 0, at = 4 * (row * from + first[k]); j < width; j++, at += 4) {
          const weight = weights[k * width + j];
          red += weight * pixels[at];
          green += weight * pixels[at + 1];
          blue += weight * pixels[at + 2];
        }
        const at = 3 * (row * to + k);
        half[at] = red;
        half[at + 1] = green;
        half[at + 2] = blue;
      }
    }
    const rounded = new Uint8ClampedArray(to * to * 3);
    for (let k = 0; k < to; k++) {
      for (let column = 0; column < 3 * to; column++) {
        let sum = nudge;
        for (let j = 0; j < width; j++) sum += weights[k * width + j] * half[3 * to * (first[k] + j) + column];
        rounded[3 * to * k + column] = sum;
      }
    }
    return new Uint8Array(rounded.buffer);
  }
}

/** Weights of the pixels, from the first on, that a smaller one covers: by how much of each. */
function averaged(k, scale, from) {
  const [start, end] = [k * scale, Math.min((k + 1) * scale, from)];
  const first = Math.floor(start + 1e-9);
  const weights = [];
  for (let j = first; j < end - 1e-9; j++) weights.push((Math.min(j + 1, end) - Math.max(j, start)) / (end - start));
  return { first, weights };
}

/** Weights of the two pixels that a larger one is blended of. */
function blended(k, scale, from) {
  const first = Math.floor(k * scale);
  const beyond = k + 1 - (first + 1) / scale;
  const share = beyond <= 0 || first + 1 >= from ? 0 : beyond - Math.floor(beyond);
  return { first: Math.min(first, from - 2), weights: first + 1 >= from ? [0, 1] : [1 - share, share] };
}
