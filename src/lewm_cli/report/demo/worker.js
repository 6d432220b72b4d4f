/*
 * The worker of the page: networks in ONNX Runtime Web, and the solvers cem and icem on them. All of it is defined in
 * Python, lewm_cli/plan and lewm_cli/model/rollout.py: a test hands both the same random numbers. model.js speaks to
 * it, and says what goes to and fro.
 *
 * A sequence is what a solver tries: normalized action blocks of one plan, flat (horizon * frameskip * A).
 */

/** What the page gets of an iteration, at most: as many candidates as the planning viewer shows. */
const CANDIDATES_KEPT = 24;

/** What is timed: an iteration of the page's own settings. */
const PROBED = { candidates: 100, horizon: 5 };

// Networks

class Networks {
  /** @param {LiveModel} given  @param {Object<string, ort.InferenceSession>} sessions  of the networks by name */
  constructor(given, ort, sessions) {
    Object.assign(this, { given, ort, ...sessions });
  }

  /**
   * @param {{given: LiveModel, runtime: string, library: Uint8Array, threads: number, provider: "wasm"|"webgpu",
   *     files: Object<string, Uint8Array>}} request
   *     runtime: where ONNX Runtime can be imported from; library: its WebAssembly; files: of the networks by name
   */
  static async load({ given, runtime, library, threads, provider, files }) {
    const ort = await import(runtime);
    ort.env.logLevel = "error";
    Object.assign(ort.env.wasm, { numThreads: threads, wasmBinary: library });
    const options = { executionProviders: [provider], logSeverityLevel: 3 }; // errors
    const sessions = {};
    for (const [name, file] of Object.entries(files)) {
      sessions[name] = await ort.InferenceSession.create(file, options);
    }
    return new Networks(given, ort, sessions);
  }

  /** @param {Uint8Array} frames  n * S * S * 3  @returns {Promise<Float32Array>} n * D */
  async encode(frames) {
    const size = this.given.image_size;
    const shape = [frames.length / (3 * size * size), size, size, 3];
    const { latents } = await this.encoder.run({ frames: new this.ort.Tensor("uint8", frames, shape) });
    return latents.data;
  }

  /**
   * The rollout: the window of latents grows to the history length, then slides.
   *
   * @param {Float32Array} start  D
   * @param {Float32Array[]} sequences  N of them
   * @returns {Promise<Float32Array[]>} horizon + 1 times N * D: the start, then one latent per block
   */
  async imagine(start, sequences) {
    const { Tensor } = this.ort;
    const { actions, frameskip, history, latent } = this.given;
    const count = sequences.length;
    const horizon = sequences[0].length / (frameskip * actions.mean.length);
    const taken = new Float32Array(count * sequences[0].length);
    sequences.forEach((sequence, n) => taken.set(inUnits(sequence, actions), n * sequence.length));
    const blocks = new Tensor("float32", taken, [count, horizon, frameskip, actions.mean.length]);
    const { action_embeddings: embedded } = await this.action_encoder.run({ actions: blocks });
    const width = embedded.dims[2];
    const latents = [new Float32Array(count * latent)];
    for (let n = 0; n < count; n++) latents[0].set(start, n * latent);
    for (let end = 1; end <= horizon; end++) {
      const first = Math.max(0, end - history);
      const steps = end - first;
      const seen = new Float32Array(count * steps * latent);
      const does = new Float32Array(count * steps * width);
      for (let n = 0; n < count; n++) {
        for (let k = 0; k < steps; k++) {
          seen.set(latents[first + k].subarray(n * latent, (n + 1) * latent), (n * steps + k) * latent);
        }
        const from = n * horizon + first;
        does.set(embedded.data.subarray(from * width, (from + steps) * width), n * steps * width);
      }
      const { next_latents: next } = await this.predictor.run({
        latents: new Tensor("float32", seen, [count, steps, latent]),
        action_embeddings: new Tensor("float32", does, [count, steps, width]),
      });
      const last = new Float32Array(count * latent);
      for (let n = 0; n < count; n++) {
        const from = ((n + 1) * steps - 1) * latent;
        last.set(next.data.subarray(from, from + latent), n * latent);
      }
      latents.push(last);
    }
    return latents;
  }
}

/** @param {boolean} software  a CPU may play it  @returns {Promise<boolean>} whether there is a GPU */
async function hasGpu(software) {
  const adapter = await navigator.gpu?.requestAdapter();
  return Boolean(adapter) && (software || !adapter.info?.isFallbackAdapter);
}

/** ONNX Runtime with WebGPU, 27 MB. @param {string[]} addresses  of script and library */
async function gpuRuntime(addresses) {
  const [script, library] = await Promise.all(
    addresses.map(async (address) => {
      const answer = await fetch(address);
      if (!answer.ok) throw new Error(`${address} is not there`);
      return answer.arrayBuffer();
    }),
  );
  const runtime = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  return { runtime, library: new Uint8Array(library), threads: 1, provider: "webgpu" };
}

/** Turns normalized numbers into actions in the units of the environment. */
function inUnits(sequence, { mean, std }) {
  return sequence.map((value, k) => value * std[k % std.length] + mean[k % mean.length]);
}

// Costs: of N sequences, lower is better

/** Squared distance of the last imagined latent to that of the goal: what the model thinks. */
async function latentCosts(networks, start, goal, sequences) {
  const last = (await networks.imagine(start, sequences)).at(-1);
  return Float32Array.from(sequences, (_, n) => {
    let sum = 0;
    for (let k = 0; k < goal.length; k++) sum += (last[n * goal.length + k] - goal[k]) ** 2;
    return sum;
  });
}

/** Squared distance in pixels to the goal, by rules that a person wrote: no wall, every action moves the agent. */
function ruledCosts({ actions }, { speed, low, high, position, goal }, sequences) {
  const clamp = (value, least, most) => Math.min(Math.max(value, least), most);
  return Float32Array.from(sequences, (sequence) => {
    const place = [...position];
    inUnits(sequence, actions).forEach((action, k) => {
      place[k % 2] = clamp(place[k % 2] + clamp(action, -1, 1) * speed, low, high);
    });
    return (place[0] - goal[0]) ** 2 + (place[1] - goal[1]) ** 2;
  });
}

// Random numbers

/** Standard normal numbers from a seed: sfc32 (C. Doty-Humphrey), seeded as its author does, and Box and Muller. */
function normalNumbers(seed) {
  let [a, b, c, counter] = [0, seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0, 1];
  const uniform = () => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return ((sum >>> 0) + 0.5) / 2 ** 32; // never 0
  };
  for (let k = 0; k < 12; k++) uniform();
  let spare = null;
  return () => {
    if (spare !== null) {
      const value = spare;
      spare = null;
      return value;
    }
    const [radius, angle] = [Math.sqrt(-2 * Math.log(uniform())), 2 * Math.PI * uniform()];
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
}

/** The numbers that were handed over, one after another. */
function givenNumbers(draws) {
  let next = 0;
  return () => draws[next++];
}

/** Noise of a sequence for cem: white. */
function whiteNoise(normal, length) {
  return () => Float32Array.from({ length }, normal);
}

/**
 * Noise of a sequence for icem, of variance 1: along the actions its power goes with frequency to the minus `color`.
 * lewm_cli/plan/icem.py has it as an inverse Fourier transform, which is a sum of so few waves here.
 */
function coloredNoise(normal, length, dims, color) {
  const steps = length / dims;
  const frequencies = Math.floor(steps / 2) + 1;
  const waves = []; // (2 * frequencies, steps): real parts, then imaginary parts
  let variance = 0;
  for (let k = 0; k < frequencies; k++) {
    const whole = k > 0 && 2 * k < steps; // it has a phase, and a mirror image in the transform
    const scale = Math.max(k, 1) ** (-color / 2) * steps ** (color / 2);
    const turn = (2 * Math.PI * k) / steps;
    const wave = (part, size) => Float64Array.from({ length: steps }, (_, t) => (size * part(turn * t)) / steps);
    waves[k] = wave(Math.cos, whole ? 2 * scale : Math.SQRT2 * scale);
    waves[frequencies + k] = wave(Math.sin, whole ? -2 * scale : 0);
    variance += ((whole ? 4 : 2) * scale ** 2) / steps ** 2;
  }
  const deviation = Math.sqrt(variance);
  return () => {
    const noise = new Float32Array(length);
    for (let dim = 0; dim < dims; dim++) {
      const sums = new Float64Array(steps);
      for (const wave of waves) {
        const size = normal() / deviation;
        for (let t = 0; t < steps; t++) sums[t] += size * wave[t];
      }
      for (let t = 0; t < steps; t++) noise[t * dims + dim] = sums[t];
    }
    return noise;
  };
}

// Search

/**
 * The cross-entropy method: draw, keep the elites, refit, repeat. cem tries the mean in every iteration; icem in the
 * last alone, and elites of the iteration before in all.
 *
 * @param {Settings} settings
 * @param {(sequences: Float32Array[]) => Promise<Float32Array>} costsOf
 * @param {() => Float32Array} noise  of one sequence
 * @param {{mean: Float32Array, carried: Float32Array[]}} begun  where the search begins
 * @returns {Promise<{blocks: Float32Array, cost: number, carried: Float32Array[], history: object[]}>}
 */
async function search(settings, costsOf, noise, { mean, carried }) {
  const inherits = settings.solver === "icem";
  const history = [];
  let std = mean.map(() => settings.std);
  let [best, lowest, cost] = [mean, Infinity, Infinity];
  for (let number = 1; number <= settings.iterations; number++) {
    const tried = Array.from({ length: settings.candidates }, () => {
      return noise().map((value, k) => value * std[k] + mean[k]);
    });
    if (inherits) tried.splice(-carried.length, carried.length, ...carried.slice(0, tried.length));
    if (!inherits || number === settings.iterations) tried[0] = mean;
    const costs = finite(await costsOf(tried));
    const order = [...costs.keys()].sort((one, other) => costs[one] - costs[other]);
    if (costs[order[0]] < lowest) [best, lowest] = [tried[order[0]], costs[order[0]]];
    const elites = order.slice(0, settings.elites).map((k) => tried[k]);
    [mean, std] = refitted(elites);
    cost = average(order.slice(0, settings.elites).map((k) => costs[k]));
    carried = inherits ? elites.slice(0, Math.trunc(settings.kept * settings.elites)) : [];
    history.push({ number, tried, costs, order });
  }
  return { blocks: settings.result === "mean" ? mean : best, cost, carried, history };
}

/** Costs that are not finite become the highest of those that are. */
function finite(costs) {
  const known = costs.filter(Number.isFinite);
  if (known.length === 0) {
    throw new Error("No candidate costs a finite number: the weights are damaged, or std leads much too far out.");
  }
  const highest = known.reduce((one, other) => Math.max(one, other));
  return costs.map((cost) => (Number.isFinite(cost) ? cost : highest));
}

/** Mean and standard deviation (of a sample: n - 1) of every number of the elites. */
function refitted(elites) {
  const mean = elites[0].map((_, k) => average(elites.map((elite) => elite[k])));
  const std = mean.map((center, k) => {
    return Math.sqrt(elites.reduce((sum, elite) => sum + (elite[k] - center) ** 2, 0) / (elites.length - 1));
  });
  return [mean, std];
}

function average(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Shifts a sequence by the numbers that were executed; the mean action follows. */
function shifted(sequence, executed, length) {
  const rest = new Float32Array(length);
  rest.set(sequence.subarray(executed, executed + length));
  return rest;
}

/** What the page gets of an iteration: some candidates, evenly spaced by rank of cost, the cheapest first. */
function kept({ number, tried, costs, order }, elites, actions) {
  const count = Math.min(CANDIDATES_KEPT, order.length);
  const ranks = Array.from({ length: count }, (_, k) => Math.round((k * (order.length - 1)) / (count - 1)));
  const candidates = ranks.map((rank) => {
    return { actions: inUnits(tried[order[rank]], actions), cost: costs[order[rank]], elite: rank < elites };
  });
  return { number, lowest: costs[order[0]], mean: average(costs), candidates };
}

/** @returns {Promise<PlanFound>} as the request asks: see Model.plan */
async function plan(networks, { latent, goal, settings, seed, warm, kinematics, draws }) {
  const { given } = networks;
  const { actions, frameskip } = given;
  const begun = performance.now();
  const block = frameskip * actions.mean.length;
  const length = settings.horizon * block;
  const rest = (sequence) => shifted(sequence, settings.receding * block, length);
  const start = {
    mean: warm && settings.warm_start ? rest(warm.blocks) : new Float32Array(length),
    carried: warm && settings.warm_start ? warm.carried.map(rest) : [],
  };
  const normal = draws ? givenNumbers(draws) : normalNumbers(seed);
  const noise =
    settings.solver === "icem"
      ? coloredNoise(normal, length, actions.mean.length, settings.color)
      : whiteNoise(normal, length);
  const costsOf = (sequences) =>
    kinematics ? ruledCosts(given, kinematics, sequences) : latentCosts(networks, latent, goal, sequences);
  const { blocks, cost, carried, history } = await search(settings, costsOf, noise, start);
  const milliseconds = performance.now() - begun;
  const imagined = new Float32Array((settings.horizon + 1) * given.latent);
  (await networks.imagine(latent, [blocks])).forEach((one, k) => imagined.set(one, k * given.latent));
  return {
    actions: inUnits(blocks, actions),
    blocks,
    carried,
    cost,
    milliseconds,
    imagined,
    iterations: history.map((one) => kept(one, settings.elites, actions)),
  };
}

/**
 * What takes the time of a plan, once: a frame is encoded, candidates are imagined, the same ones wherever it runs.
 *
 * @returns {Promise<{last: Float32Array, milliseconds: number}>} last: N * D, where they end
 */
async function probe(networks) {
  const { image_size: size, frameskip, actions } = networks.given;
  const frame = Uint8Array.from({ length: 3 * size * size }, (_, k) => (k * k) % 251);
  const noise = whiteNoise(normalNumbers(0), PROBED.horizon * frameskip * actions.mean.length);
  const sequences = Array.from({ length: PROBED.candidates }, noise);
  const begun = performance.now();
  const last = (await networks.imagine(await networks.encode(frame), sequences)).at(-1);
  return { last, milliseconds: performance.now() - begun };
}

// Requests, answered in the order in which they come

let networks = null;
let answered = Promise.resolve();

async function answer({ kind, request }) {
  if (kind === "encode") return networks.encode(request);
  if (kind === "plan") return plan(networks, request);
  if (kind === "probe") return probe(networks);
  if (kind === "has GPU") return hasGpu(request);
  networks = await Networks.load({ ...request, ...(request.addresses && (await gpuRuntime(request.addresses))) });
  await networks.encode(new Uint8Array(3 * request.given.image_size ** 2));
  return networks.ort.env.wasm.numThreads; // it falls back to one by itself
}

onmessage = ({ data }) => {
  answered = answered
    .then(() => answer(data))
    .then(
      (value) => postMessage({ number: data.number, value }),
      // WebAssembly throws numbers, too.
      (error) => postMessage({ number: data.number, error: String(error?.message ?? error) }),
    );
};
