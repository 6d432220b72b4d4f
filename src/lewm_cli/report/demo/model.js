/*
 * The model as the page sees it: it encodes frames and finds plans in a worker (worker.js), and the page never waits.
 *
 * @typedef {{solver: "cem"|"icem", candidates: number, elites: number, iterations: number, horizon: number,
 *     receding: number, std: number, result: "mean"|"best", color: number, kept: number, warm_start: boolean}} Settings
 *     the names of lewm_cli's PlannerConfig; color and kept are icem's
 * @typedef {{speed: number, low: number, high: number, position: number[], goal: number[]}} Kinematics
 *     rules that a person wrote: an action, clipped to [-1, 1], moves the agent by `speed` pixels; places are clamped
 * @typedef {{number: number, lowest: number, mean: number,
 *     candidates: {actions: Float32Array, cost: number, elite: boolean}[]}} IterationFound
 *     cost of its candidates, and at most 24 of them evenly spaced by rank, the cheapest first
 * @typedef {{actions: Float32Array, blocks: Float32Array, carried: Float32Array[], cost: number, milliseconds: number,
 *     imagined: Float32Array, iterations: IterationFound[]}} PlanFound
 *     actions: L * A in environment units; blocks: the same normalized; carried: elites that the next plan tries again;
 *     milliseconds: of the search; imagined: (horizon + 1) * D latents of the plan, whatever it was found by
 */

/** Times that what takes the time of a plan is timed, the first ones to warm up. */
const TIMED = 4;

/** Milliseconds that no GPU is expected to beat: seven answers have to come back from it, each in two or three. */
const SOON = 20;

/** Milliseconds for which the page has the model to itself at first. */
const AHEAD = 500;

const BROWSERS = "open this page in a current Chromium, Firefox or Safari";

/** Of base 85 as Python has it, except that a comma stands for "<". */
const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;,=>?@^_`{|}~";

class Model {
  /** @param {Worker} worker */
  constructor(worker) {
    this.worker = worker;
    this.waiting = new Map();
    this.asked = 0;
    /** That ONNX Runtime computes with. */
    this.threads = 1;
    /** The same model on the GPU, from when it is known to be faster. @type {?Model} */
    this.gpu = null;
    /** Resolves when that is known; plans need not wait for it. */
    this.chosen = Promise.resolve();
    worker.onmessage = ({ data: { number, value, error } }) => {
      const { resolve, reject } = this.waiting.get(number) ?? {};
      if (!this.waiting.delete(number)) return; // it has failed already
      if (error === undefined) resolve(value);
      else reject(new Error(error));
    };
    worker.onerror = (event) => {
      event.preventDefault();
      for (const { reject } of this.waiting.values()) reject(new Error(event.message || "its worker does not run"));
      this.waiting.clear();
    };
  }

  /**
   * Resolves when the networks answer.
   *
   * @param {LiveModel} given
   * @param {Object<string, string>} packed  by name: runtime, library, worker, and the networks
   * @param {{gpu: "faster"|"any"}} options  any: use a GPU that is slow, or that a CPU plays, too (tests)
   * @throws {Error} whose message is a sentence for the user
   */
  static async load(given, packed, { gpu = "faster" } = {}) {
    for (const name of ["Worker", "WebAssembly", "DecompressionStream"]) {
      if (!(name in globalThis)) throw new Error(`This browser lacks ${name}, which the model needs: ${BROWSERS}.`);
    }
    let model = null;
    try {
      const parts = await Promise.all(Object.entries(packed).map(async ([name, text]) => [name, await unpacked(text)]));
      const { worker, runtime, library, ...files } = Object.fromEntries(parts);
      const script = blobAddress(worker);
      model = new Model(new Worker(script));
      // Threads share memory, which browsers give isolated pages alone. Half the cores: with all, threads of the page
      // and of others would have to wait for each other at every layer.
      const threads = crossOriginIsolated ? Math.min(4, Math.ceil(navigator.hardwareConcurrency / 2)) : 1;
      const address = crossOriginIsolated ? blobAddress(runtime) : dataAddress(runtime);
      const request = { given, runtime: address, library, threads, provider: "wasm", files };
      model.threads = await model.ask("load", request);
      if (given.gpu && navigator.gpu) model.chosen = model.tryGpu({ given, files }, script, gpu === "any");
      return model;
    } catch (error) {
      model?.worker.terminate();
      const instead = `make the page anew with lewm demo ${given.run}, or ${BROWSERS}`;
      throw new Error(`The model did not start (${error.message}): ${instead}.`);
    }
  }

  /** @param {Uint8Array} frames  n * S * S * 3  @returns {Promise<Float32Array>} n * D */
  encode(frames) {
    return this.compute("encode", frames);
  }

  /**
   * @param {{latent: Float32Array, goal: Float32Array, settings: Settings, seed: number, warm: ?PlanFound,
   *     kinematics: ?Kinematics, draws: ?Float32Array}} request
   *     latent, goal: D; warm: the plan before, whose rest the search begins at if the settings say so; kinematics:
   *     what candidates cost by, instead of what the model imagines; draws: standard normal numbers for a test
   * @returns {Promise<PlanFound>}
   */
  plan(request) {
    const { warm } = request;
    return this.compute("plan", { ...request, warm: warm && { blocks: warm.blocks, carried: warm.carried } });
  }

  /** What computes, for the user. */
  get device() {
    return this.gpu ? "GPU" : `${this.threads} thread${this.threads === 1 ? "" : "s"}`;
  }

  /** By the GPU where it is used; if it fails at what the threads can do, by these from then on. @private */
  async compute(kind, request) {
    const { gpu } = this;
    if (!gpu) return this.ask(kind, request);
    return gpu.ask(kind, request).catch(async () => {
      const value = await this.ask(kind, request);
      this.gpu = null;
      return value;
    });
  }

  /**
   * Goes on with the GPU if it imagines the same faster. It has a worker of its own, so that nobody waits for it, and
   * nothing is said if it fails.
   *
   * @private
   */
  async tryGpu(request, script, any) {
    const fastest = async (model, probes = []) => {
      for (let k = 0; k < (any ? 1 : TIMED); k++) probes.push(await model.ask("probe"));
      return probes.reduce((one, other) => (other.milliseconds < one.milliseconds ? other : one));
    };
    let gpu = null;
    try {
      await new Promise((resolve) => setTimeout(resolve, AHEAD));
      gpu = new Model(new Worker(script));
      if (!(await gpu.ask("has GPU", any))) return;
      const ours = await fastest(this);
      if (!any && ours.milliseconds < SOON) return;
      const addresses = ["webgpu.mjs", "webgpu.wasm"].map((name) => new URL(name, location.href).href);
      await gpu.ask("load", { ...request, addresses });
      const its = await fastest(gpu);
      const faster = any || its.milliseconds < ours.milliseconds;
      if (faster && agree(ours.last, its.last, request.given.latent)) this.gpu = gpu;
    } catch {
      // The threads go on.
    } finally {
      if (!this.gpu) gpu?.worker.terminate();
    }
  }

  /** @private */
  ask(kind, request) {
    const number = this.asked++;
    return new Promise((resolve, reject) => {
      this.waiting.set(number, { resolve, reject });
      this.worker.postMessage({ kind, number, request });
    });
  }
}

/**
 * Whether two computed the same candidates, except for rounding: what they differ by is less than a thousandth of what
 * candidates differ by, which changes hardly any rank. Sums in another order differ by far less, and half precision or
 * a wrong kernel by more.
 *
 * @param {Float32Array} ours, its  N * D: where the candidates end
 */
function agree(ours, its, latent) {
  const count = ours.length / latent;
  const mean = new Float64Array(latent);
  ours.forEach((value, k) => (mean[k % latent] += value / count));
  let [apart, spread] = [0, 0];
  ours.forEach((value, k) => {
    apart += (its[k] - value) ** 2;
    spread += (value - mean[k % latent]) ** 2;
  });
  return apart <= 1e-6 * spread; // squares; false if one is no number
}

/** @param {string} text  as live_page.py packs it  @returns {Promise<Uint8Array>} */
async function unpacked(text) {
  const stream = new Blob([ofBase85(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Five digits are four bytes; the last ones may be fewer. */
function ofBase85(text) {
  const values = new Uint8Array(128);
  for (let k = 0; k < DIGITS.length; k++) values[DIGITS.charCodeAt(k)] = k;
  const bytes = new DataView(new ArrayBuffer(4 * Math.ceil(text.length / 5)));
  for (let k = 0; 5 * k < text.length; k++) {
    let four = 0;
    for (let digit = 5 * k; digit < 5 * k + 5; digit++) {
      four = 85 * four + (digit < text.length ? values[text.charCodeAt(digit)] : 84);
    }
    bytes.setUint32(4 * k, four);
  }
  return bytes.buffer.slice(0, Math.floor((4 * text.length) / 5));
}

/** @param {Uint8Array} script  @returns {string} an address for workers; those of ONNX Runtime can share memory */
function blobAddress(script) {
  return URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
}

/** @param {Uint8Array} script  @returns {string} an address that a worker of a page from a file can import, too */
function dataAddress(script) {
  return `data:text/javascript,${encodeURIComponent(new TextDecoder().decode(script))}`;
}
