// Samples on canvases: images pixel by pixel, curves as lines in the user's units.

import { short } from "./content.mjs";
import { state } from "./state.mjs";

const LINES = ["--accent", "--mark"];

export const byId = (id) => document.getElementById(id);

export const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// Gives a canvas the pixels that its place on the screen has; returns a context in CSS pixels.
export function sized(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return context;
}

// Returns a figure with a canvas and a caption. Its `paint(values, options)` draws a sample; options
// are `caption`, `behind` (another sample to draw faintly) and `label` for screen readers.
export function sampleFigure(caption, size = "large") {
  const canvas = element("canvas", { role: "img" });
  const text = element("figcaption", {}, caption);
  const figure = element("figure", {}, canvas, text);
  figure.paint = (values, options = {}) => {
    if (options.caption !== undefined) text.textContent = options.caption;
    canvas.setAttribute("aria-label", options.label ?? text.textContent);
    paint(canvas, values, size, options.behind);
  };
  figure.canvas = canvas;
  return figure;
}

export function paint(canvas, values, size = "large", behind = null) {
  if (state.content.samples.kind === "image") paintImage(canvas, values, size);
  else paintCurves(canvas, values, size, behind);
}

function paintImage(canvas, values, size) {
  const [height, width, channels] = state.content.samples.shape;
  const { low, high } = state.content.samples;
  canvas.className = "image";
  canvas.width = width;
  canvas.height = height;
  const wanted = { large: 108, small: 62, tip: 90 }[size];
  canvas.style.width = `${wanted}px`;
  canvas.style.height = `${(wanted * height) / width}px`;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) {
      const value = values[i * channels + (channels === 3 ? c : 0)];
      pixels.data[4 * i + c] = (255 * (value - low)) / (high - low);  // clamped and rounded there
    }
    pixels.data[4 * i + 3] = 255;
  }
  context.putImageData(pixels, 0, 0);
}

const MOST_CHANNELS = 6;

// Each channel has a band of its own, whose lowest and highest value stand beside it.
function paintCurves(canvas, values, size, behind) {
  const { shape: [length, channels], ranges, center, width: scale } = state.content.samples;
  const shown = Math.min(channels, MOST_CHANNELS);
  const width = { large: 290, small: 130, tip: 200 }[size];
  const band = shown > 1 ? 56 : { large: 124, small: 62, tip: 84 }[size];
  canvas.style.width = `${width}px`;
  canvas.style.height = `${band * shown}px`;
  const context = sized(canvas, width, band * shown);
  for (let c = 0; c < shown; c++) {
    const [low, high] = ranges[c], spare = 0.06 * (high - low);
    const y = (v) => band * c + band * (1 - (v - low + spare) / (high - low + 2 * spare));
    const curve = (data) => (t) => y(data[t * channels + c] * scale[c] + center[c]);
    context.save();
    context.beginPath();
    context.rect(0, band * c, width, band);
    context.clip();
    if (behind) line(context, length, width, curve(behind), css("--faint"), 1);
    line(context, length, width, curve(values), css(LINES[0]), 1.6);
    context.restore();
    if (size !== "large") continue;
    context.fillStyle = css("--faint");
    context.font = "10px system-ui, sans-serif";
    context.fillText(short(high), 2, band * c + 10);
    context.fillText(short(low), 2, band * (c + 1) - 3);
  }
}

// Draws a line over the width; it is interrupted where a value is missing.
function line(context, length, width, y, colour, thickness) {
  context.strokeStyle = colour;
  context.lineWidth = thickness;
  context.beginPath();
  let broken = true;
  for (let t = 0; t < length; t++) {
    const at = y(t);
    if (Number.isNaN(at)) { broken = true; continue; }
    const x = (t / Math.max(length - 1, 1)) * width;
    if (broken) context.moveTo(x, at);
    else context.lineTo(x, at);
    broken = false;
  }
  context.stroke();
}

const CLASS_COLOURS = [
  "#3b78b8", "#e8872d", "#3f9a4d", "#d1495b", "#8a63b8", "#9c6b4e", "#d673b4", "#7f7f7f", "#a5a82b",
  "#25a5b5",
];
const STEPS = 24;

// Returns the colours of a scale in the page's present scheme, from the lowest to the highest value.
export function ramp() {
  return css("--ramp").split(",").map((text) => text.trim());
}

function rampColour(stops, share) {
  const at = share * (stops.length - 1), i = Math.min(Math.floor(at), stops.length - 2);
  const parts = (text) => [1, 3, 5].map((k) => parseInt(text.slice(k, k + 2), 16));
  const [a, b] = [parts(stops[i]), parts(stops[i + 1])];
  return `rgb(${a.map((v, c) => Math.round(v + (at - i) * (b[c] - v))).join(" ")})`;
}

// Returns the colours of a column, {groups, palette, names, low, high, order}: the group of each
// sample, the colour of each group, and the samples group by group. A scale runs from the 1st to the
// 99th hundredth of its values.
export function coloursOf(column) {
  if (column.names) {
    const palette = column.names.map((_, i) => CLASS_COLOURS[i] ?? `hsl(${(i * 137.5) % 360} 55% 52%)`);
    return { groups: column.values, palette, names: column.names, order: byGroup(column.values) };
  }
  const sorted = Float32Array.from(column.values.filter(Number.isFinite)).sort();
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))] ?? 0;
  const low = at(0.01), high = at(0.99);
  const groups = Int32Array.from(column.values, (value) => {
    const share = high > low ? (value - low) / (high - low) : 0.5;
    return Number.isFinite(value) ? Math.min(Math.max(Math.floor(share * STEPS), 0), STEPS - 1) : STEPS;
  });
  const stops = ramp();
  const palette = Array.from({ length: STEPS }, (_, i) => rampColour(stops, (i + 0.5) / STEPS));
  return { groups, palette: [...palette, "#888888"], names: null, low, high, order: byGroup(groups) };
}

function byGroup(groups) {
  return Uint32Array.from(groups.keys()).sort((i, j) => groups[i] - groups[j] || i - j);
}
