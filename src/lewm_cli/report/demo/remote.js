/*
 * A world that a simulator in Python steps, by `lewm demo --serve`: lewm_cli/demo/live_episode.py describes its answers.
 */

/** The world of a server: nothing in it can be placed, and where actions would lead is not known before. */
class RemoteWorld {
  editable = false;
  kinematics = null;
  walls = [];
  /** @type {Moment} */
  now = null;
  /** @type {Moment} of the goal reached */
  goal = null;

  /** @param {object} given  LiveModel */
  constructor({ run }) {
    this.run = run;
  }

  /** One of the recorded starts and goals. */
  async begin(seed) {
    const { size, now, goal } = await this.ask("begin", { seed });
    this.size = size;
    this.now = this.moment(now);
    this.goal = this.moment(goal);
  }

  /** @returns {Promise<Moment[]>} after every step until the goal is reached */
  async act(actions) {
    const { moments } = await this.ask("act", { actions: Array.from(actions) });
    const every = moments.map((moment) => this.moment(moment));
    this.now = every.at(-1);
    return every;
  }

  follow() {
    return null;
  }

  /**
   * Plans in Python, from what is seen now to the goal.
   *
   * @param {object} request  as Model.plan takes it; latents and kinematics mean nothing there
   * @returns {Promise<PlanFound>}
   */
  async plan({ settings, seed, warm }) {
    const numbers = (sequence) => Array.from(sequence);
    const before = warm && { blocks: numbers(warm.blocks), carried: warm.carried.map(numbers) };
    const found = await this.ask("plan", { settings, seed, warm: before });
    return {
      ...found,
      actions: floats(found.actions),
      blocks: floats(found.blocks),
      carried: found.carried.map(floats),
      imagined: floats(found.imagined),
      iterations: found.iterations.map((iteration) => ({
        ...iteration,
        candidates: iteration.candidates.map((one) => ({ ...one, actions: floats(one.actions) })),
      })),
    };
  }

  /** @returns {Moment} */
  moment({ frame, seen, ...rest }) {
    const [colors, image] = [bytes(frame), new ImageData(this.size, this.size)];
    image.data.fill(255);
    colors.forEach((level, k) => (image.data[Math.floor(k / 3) * 4 + (k % 3)] = level));
    return { ...rest, frame: image, seen: bytes(seen) };
  }

  /** @throws {Error} whose message is a sentence for the user */
  async ask(what, request) {
    const headers = { "Content-Type": "application/json" };
    let answer;
    try {
      const response = await fetch(`/${what}`, { method: "POST", headers, body: JSON.stringify(request) });
      answer = await response.json();
    } catch {
      const again = `type lewm demo ${this.run} --serve again, and open the address that it prints`;
      throw new Error(`The simulator does not answer: ${again}.`);
    }
    if (answer.error !== undefined) throw new Error(`The simulator says: ${answer.error}.`);
    return answer;
  }
}

/** @param {string} text  base64  @returns {Uint8Array} */
function bytes(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/** @param {string} text  base64 of little-endian float32  @returns {Float32Array} */
function floats(text) {
  return new Float32Array(bytes(text).buffer);
}
