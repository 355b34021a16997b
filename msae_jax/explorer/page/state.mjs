// What is selected, and who wants to know when it changes.

import { latentOf, numberOf } from "./content.mjs";
import { nearestLatent, placed } from "./latents.mjs";

// active: the position of the model whose decoder is used. sample: the selected one. z, p: the latent
// that is decoded and its place in the plane; isOwn: whether z is that of the sample. output: what z
// decodes to. caught: samples of a lasso. path: points of a walk in the plane. milliseconds: of the
// latest decode.
export const state = {
  content: null, active: 0, sample: 0, z: null, p: [0, 0], isOwn: true, output: null, caught: [],
  path: null, colour: 0, mode: "move", milliseconds: 0,
};

const listeners = {};

// Calls fn after each change of a topic: sample, latent, model, caught, colour, path.
export function on(topic, fn) {
  (listeners[topic] ??= []).push(fn);
}

export function tell(topic) {
  for (const fn of listeners[topic] ?? []) fn();
}

export const model = () => state.content.models[state.active];

// Writes to the line that screen readers read out, the latest text alone.
let spoken = 0;
export function say(text) {
  clearTimeout(spoken);
  spoken = setTimeout(() => { document.getElementById("status").textContent = text; }, 120);
}

export function decode(z) {
  const begin = performance.now();
  const output = model().decode(z);
  state.milliseconds = performance.now() - begin;
  return output;
}

function show(z, p, isOwn) {
  Object.assign(state, { z, p, isOwn, output: decode(z) });
}

// Selects a sample, whose own latent is then decoded.
export function select(i) {
  state.sample = i;
  const own = model();
  show(latentOf(own, i), [own.points[2 * i], own.points[2 * i + 1]], true);
  tell("sample");
  tell("latent");
  say(describe(i));
}

export function describe(i) {
  const classes = state.content.columns.filter((column) => column.names);
  const texts = classes.map((column) => `, ${column.name} ${column.names[column.values[i]]}`);
  return `Sample ${numberOf(state.content, i)}${texts.join("")}`;
}

// Decodes another latent. Its place is p, where it was dragged to, or follows from the plane; where
// the plane has no place for it, it is that of the sample with the nearest latent.
export function setLatent(z, p = null) {
  const own = model();
  let place = p ?? placed(own, z);
  if (!place || own.dims === 1) {
    const near = nearestLatent(own, z);
    place = p ?? [own.dims === 1 ? z[0] : own.points[2 * near], own.points[2 * near + 1]];
  }
  show(z, place, false);
  tell("latent");
}

let pending = null;

// setLatent once a frame: of all latents that arrive between two frames, the last one counts.
export function setLatentSoon(z, p = null) {
  if (!pending) {
    requestAnimationFrame(() => {
      const [latest, place] = pending;
      pending = null;
      setLatent(latest, place);
    });
  }
  pending = [z, p];
}

// Makes another model the one whose decoder is used; the selected sample stays.
export function activate(k) {
  if (k === state.active) return;
  state.active = k;
  state.path = null;
  tell("model");
  select(state.sample);
}
