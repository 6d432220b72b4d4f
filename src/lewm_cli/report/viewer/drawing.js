"use strict";
/*
 * What the viewer of plans and the page in which a run plans draw with.
 *
 * @typedef {{shape: number[], unit: number, data: string}} Points  places of a plane: base64 of int16, times a unit
 * @typedef {{number: number, elites: number, paths: Float32Array[], ranks: number[]}} Iteration
 *     candidates of one iteration, the cheapest first; ranks are from 0 (cheapest of the plan) to 1
 * @typedef {{frame: CanvasImageSource?, path: Float32Array, goal: number[], plan: {path: Float32Array}?,
 *     iteration: Iteration?}} Shot  what is on the frame; the path is the way so far
 * @typedef {{latents: Float32Array, goal: Float32Array, plan: {imagined: Float32Array}?}} Whereabouts
 *     what is on the latent map
 *
 * Paths are flat: x, y, x, y, ... in pixels of the frame, or in units of the latent map.
 * A test reads the colors below, and viewer.css repeats those of the legend.
 */

/** Colors of candidates from cheap to expensive; both scales can be told apart on the dimmed frame. */
const SCALES = {
  "teal-red": ["#2bd9c4", "#e6d27a", "#ff7b6b"],
  "color-blind": ["#fde725", "#b5de2b", "#6ece58", "#35b779"],
};

/** What else is drawn on a frame. */
const MARKS = { veil: "#0d0f15", opacity: 0.72, way: "#3aaef0", plan: "#ffffff", goal: "#ffffff", start: "#ffffff" };

/** @param {Points} points  @returns {Float32Array} x, y, x, y, ... */
function decoded({ unit, data }) {
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  return Float32Array.from(new Int16Array(bytes.buffer), (whole) => whole * unit);
}

/** Colors, letters and switches of what is drawn, and the same colors for the legend. */
function styled(root, blind, dimmed) {
  const style = getComputedStyle(root);
  const names = ["ink", "muted", "line", "model", "other", "baseline", "card"];
  const theme = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  const stops = SCALES[blind ? "color-blind" : "teal-red"];
  root.style.setProperty("--scale", stops.join(", "));
  root.style.setProperty("--cheap", stops[0]);
  return {
    theme,
    map: { cloud: theme.muted, way: theme.model, imagined: theme.other },
    font: `12.5px ${style.fontFamily}`,
    colors: Array.from({ length: 64 }, (_, k) => between(stops, k / 63)),
    dimmed,
  };
}

/** Places of costs among all costs in order, from 0 to 1. */
function ranked(costs, ordered) {
  return costs.map((cost) => ordered.findIndex((one) => one >= cost) / Math.max(1, ordered.length - 1));
}

/** A canvas that is sharp on every screen; its sizes are CSS pixels. */
class Surface {
  constructor(canvas, resized) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.width = this.height = 0;
    new ResizeObserver(([{ contentRect }]) => {
      this.width = contentRect.width;
      this.height = contentRect.height;
      resized();
    }).observe(canvas);
  }

  /** Clears the canvas; false if it is not shown. */
  begin() {
    const width = Math.round(this.width * devicePixelRatio);
    const height = Math.round(this.height * devicePixelRatio);
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    this.context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    this.context.clearRect(0, 0, this.width, this.height);
    this.context.lineJoin = this.context.lineCap = "round";
    return width > 0 && height > 0;
  }
}

/** Strokes a flat path after `place` put every point on the canvas. */
function stroke(context, path, place, color, width) {
  context.beginPath();
  for (let k = 0; k < path.length; k += 2) context.lineTo(...place(path[k], path[k + 1]));
  context.strokeStyle = color;
  context.lineWidth = width;
  context.stroke();
}

function dot(context, [x, y], radius, color) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = color;
  context.fill();
}

function cross(context, [x, y], reach, color, width) {
  context.beginPath();
  context.moveTo(x - reach, y);
  context.lineTo(x + reach, y);
  context.moveTo(x, y - reach);
  context.lineTo(x, y + reach);
  context.strokeStyle = color;
  context.lineWidth = width;
  context.stroke();
}

/** A color between stops, for a share from 0 to 1. */
function between(stops, share) {
  const place = share * (stops.length - 1);
  const k = Math.min(Math.floor(place), stops.length - 2);
  const channel = (color, at) => parseInt(color.slice(at, at + 2), 16);
  const mix = (at) => Math.round(channel(stops[k], at) * (k + 1 - place) + channel(stops[k + 1], at) * (place - k));
  return `rgb(${mix(1)} ${mix(3)} ${mix(5)})`;
}

/** A frame, and over it the candidates of an iteration and the ways. */
class Scene {
  constructor(canvas, resized, frameSize, radius) {
    Object.assign(this, { surface: new Surface(canvas, resized), frameSize, radius });
  }

  /** @param {Shot} shot */
  draw({ frame, path, goal, plan, iteration }, look) {
    if (!this.surface.begin()) return;
    const { context, width } = this.surface;
    const scale = width / this.frameSize;
    const unit = Math.max(0.6, width / 450); // lines keep their weight beside the frame
    const place = (x, y) => [x * scale, y * scale];
    this.drawFrame(frame, width, look);
    if (iteration) this.drawCandidates(iteration, place, unit, look);
    stroke(context, path, place, MARKS.way, 6 * unit);
    if (plan) {
      stroke(context, plan.path, place, MARKS.veil, 4.5 * unit);
      stroke(context, plan.path, place, MARKS.plan, 2.2 * unit);
    }
    dot(context, place(path[0], path[1]), 4.5 * unit, MARKS.start);
    this.drawGoal(place(...goal), scale, unit);
    const here = place(...path.slice(-2));
    dot(context, here, 7 * unit, MARKS.veil);
    dot(context, here, 5.5 * unit, MARKS.way);
  }

  drawFrame(frame, width, look) {
    const { context } = this.surface;
    if (frame) context.drawImage(frame, 0, 0, width, width);
    context.globalAlpha = look.dimmed || !frame ? MARKS.opacity : 0;
    context.fillStyle = MARKS.veil;
    context.fillRect(0, 0, width, width);
    context.globalAlpha = 1;
  }

  /** Expensive ones first, so that cheap ones show. */
  drawCandidates({ elites, paths, ranks }, place, unit, look) {
    for (let k = paths.length - 1; k >= 0; k--) {
      const color = look.colors[Math.round(ranks[k] * (look.colors.length - 1))];
      stroke(this.surface.context, paths[k], place, color, (k < elites ? 2.8 : 1.1) * unit);
    }
  }

  drawGoal(place, scale, unit) {
    const { context } = this.surface;
    for (const [color, width] of [[MARKS.veil, 4.5], [MARKS.goal, 2.2]]) {
      if (this.radius === null) {
        cross(context, place, 10 * unit, color, width * unit);
        continue;
      }
      context.beginPath();
      context.arc(...place, this.radius * scale, 0, 2 * Math.PI);
      context.strokeStyle = color;
      context.lineWidth = width * unit;
      context.stroke();
    }
  }
}

/** Where the episode and the plan are among latents of the recording. */
class LatentMap {
  constructor(canvas, resized, map) {
    this.surface = new Surface(canvas, resized);
    this.cloud = document.createElement("canvas");
    this.drawn = ""; // for which limits, size and theme the cloud was drawn
    this.show(map);
  }

  /** Another map; it has to be fitted anew. */
  show({ shares, points }) {
    this.points = decoded(points);
    const named = (share, k) => `component ${k + 1} (${Math.round(100 * share)}% of variance)`;
    this.labels = shares?.map(named) ?? ["UMAP: near is alike, distances far apart mean little", ""];
  }

  /** Fits the map around the recording and whatever else will be shown. */
  fit(others) {
    const low = [Infinity, Infinity];
    const high = [-Infinity, -Infinity];
    for (const points of [this.points, ...others]) {
      points.forEach((value, k) => {
        low[k % 2] = Math.min(low[k % 2], value);
        high[k % 2] = Math.max(high[k % 2], value);
      });
    }
    Object.assign(this, { low, high, drawn: "" });
  }

  /** @param {Whereabouts} whereabouts */
  draw({ latents, goal, plan }, look) {
    if (!this.surface.begin()) return;
    const { context, width, height } = this.surface;
    const { ink, muted, card } = look.theme;
    const { cloud, way, imagined } = look.map;
    const [left, bottom, room] = [20, 20, 8];
    const [across, along] = [width - left - 2 * room, height - bottom - 2 * room];
    const [wide, high] = [this.high[0] - this.low[0] || 1, this.high[1] - this.low[1] || 1];
    const scale = Math.min(across / wide, along / high); // the same for both components
    const place = (x, y) => [
      left + room + across / 2 + (x - this.low[0] - wide / 2) * scale,
      room + along / 2 - (y - this.low[1] - high / 2) * scale,
    ];
    this.drawCloud(place, cloud);
    context.fillStyle = muted;
    context.font = look.font;
    context.textAlign = "center";
    context.fillText(this.labels[0], left + (width - left) / 2, height - 5, width - left);
    context.save();
    context.translate(12, (height - bottom) / 2);
    context.rotate(-Math.PI / 2);
    context.fillText(this.labels[1], 0, 0, height - bottom);
    context.restore();
    stroke(context, latents, place, way, 3);
    cross(context, place(...goal), 7, card, 5);
    cross(context, place(...goal), 7, ink, 2.5);
    if (plan) {
      stroke(context, plan.imagined, place, imagined, 1.8);
      for (let k = 1; k < plan.imagined.length / 2; k++) {
        dot(context, place(plan.imagined[2 * k], plan.imagined[2 * k + 1]), 3, imagined);
      }
    }
    const here = place(...latents.slice(-2));
    dot(context, here, 6.5, card);
    dot(context, here, 5, way);
  }

  /** Thousands of points, drawn once into a picture of their own. */
  drawCloud(place, color) {
    const { canvas, context, width, height } = this.surface;
    const drawn = [canvas.width, canvas.height, color].join();
    if (this.drawn !== drawn) {
      this.drawn = drawn;
      this.cloud.width = canvas.width;
      this.cloud.height = canvas.height;
      const own = this.cloud.getContext("2d");
      own.scale(devicePixelRatio, devicePixelRatio);
      own.globalAlpha = 0.4;
      for (let k = 0; k < this.points.length; k += 2) dot(own, place(this.points[k], this.points[k + 1]), 1.4, color);
    }
    context.drawImage(this.cloud, 0, 0, width, height);
  }
}

/** A few round numbers within limits: powers of ten on a logarithmic axis. */
function ticks(low, high, logarithmic) {
  if (logarithmic) {
    const first = Math.ceil(Math.log10(low));
    const count = Math.floor(Math.log10(high)) - first + 1;
    const every = Math.ceil(count / 4);
    return Array.from({ length: Math.ceil(count / every) }, (_, k) => 10 ** (first + k * every));
  }
  const rough = (high - low) / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, k) => (first + k) * step);
}

/** A number of few digits, as people write it. */
function short(value) {
  if (value === 0 || (Math.abs(value) >= 0.001 && Math.abs(value) < 100_000)) return String(+value.toPrecision(3));
  const [lead, exponent] = value.toExponential(1).split("e");
  const raised = [...String(+exponent)].map((digit) => (digit === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit])).join("");
  return lead === "1.0" ? `10${raised}` : `${+lead} × 10${raised}`;
}

/** Lowest and mean cost of every iteration of a plan. */
class CostChart {
  constructor(canvas, resized) {
    this.surface = new Surface(canvas, resized);
  }

  draw(plan, number, look) {
    if (!this.surface.begin() || !plan.lowest.length) return;
    const { context, width, height } = this.surface;
    const { ink, muted, line, model, baseline, card } = look.theme;
    const costs = [...plan.lowest, ...plan.mean];
    let [low, high] = [Math.min(...costs), Math.max(...costs)];
    const logarithmic = low > 0 && high / low >= 100;
    if (!logarithmic) [low, high] = [Math.min(0, low), high > low || high > 0 ? high : low + 1];
    const share = (cost) =>
      logarithmic ? Math.log(cost / low) / Math.log(high / low) : (cost - low) / (high - low || 1);
    context.font = look.font;
    const marks = ticks(low, high, logarithmic);
    const left = Math.max(...marks.map((value) => context.measureText(short(value)).width)) + 8;
    const [right, top, bottom] = [58, 10, 36];
    const x = (iteration) =>
      left + 6 + ((iteration - 1) / Math.max(1, plan.lowest.length - 1)) * (width - left - right - 12);
    const y = (cost) => height - bottom - share(cost) * (height - top - bottom);
    const text = (words, at, align, color = muted) => {
      context.fillStyle = color;
      context.textAlign = align;
      context.fillText(words, ...at);
    };
    for (const value of marks) {
      stroke(context, [left, y(value), width - right, y(value)], (...at) => at, line, 1);
      text(short(value), [left - 6, y(value) + 4], "right");
    }
    const last = plan.lowest.length;
    text("1", [x(1), height - bottom + 16], "center");
    if (last > 1) text(String(last), [x(last), height - bottom + 16], "center");
    text(`iteration${logarithmic ? "; cost on a log scale" : ""}`, [left, height - 4], "left");
    stroke(context, [x(number), top - 6, x(number), height - bottom], (...at) => at, muted, 1);
    const ends = { mean: y(plan.mean[last - 1]), lowest: y(plan.lowest[last - 1]) };
    const apart = Math.max(0, 14 - (ends.lowest - ends.mean)) / 2; // names keep clear of each other
    for (const [name, color, shift] of [["mean", baseline, -apart], ["lowest", model, apart]]) {
      const curve = plan[name].flatMap((cost, k) => [x(k + 1), y(cost)]);
      stroke(context, curve, (...at) => at, color, 2);
      dot(context, [x(number), y(plan[name][number - 1])], 5, card);
      dot(context, [x(number), y(plan[name][number - 1])], 3.5, color);
      const at = Math.min(ends[name] + shift + 4, height - bottom + (name === "mean" ? -10 : 4));
      text(name, [width - right + 8, at], "left", name === "mean" ? muted : ink);
    }
  }
}
