// Walks between two samples, arithmetic of three, samples of the prior.

import { latentOf, numberOf, original } from "./content.mjs";
import { byId, sampleFigure } from "./drawing.mjs";
import { drawn, linear, nearestLatent, placed, spherical } from "./latents.mjs";
import { latentIn, sampleIn } from "./sample.mjs";
import { decode, describe, model, on, say, setLatent, state, tell } from "./state.mjs";

const FRAMES = 9;

// Calls fn when a panel is open, now and after each change of the topics.
function whileOpen(id, topics, fn) {
  const run = () => { if (byId(id).open) fn(); };
  byId(id).addEventListener("toggle", run);
  for (const topic of topics) on(topic, run);
}

function strip(id, count) {
  const figures = Array.from({ length: count }, () => sampleFigure("", "small"));
  byId(id).replaceChildren(...figures);
  return figures;
}

export function setUpWalk() {
  byId("walk-from").value = numberOf(state.content, 0);
  byId("walk-to").value = numberOf(state.content, Math.min(1, state.content.n - 1));
  let ends = null;
  const figures = strip("walk-figures", FRAMES);
  const at = (t) => (byId("walk-kind").value === "linear" ? linear : spherical)(...ends, t);
  const prepare = () => {
    const [a, b] = [latentIn("walk-from"), latentIn("walk-to")];
    ends = a && b ? [a, b] : null;
    if (ends && !at(0.5)) {
      ends = null;
      byId("walk-text").textContent = "These latents are opposite: every great circle joins them. Take the linear path.";
    }
    if (!ends) return;
    const steps = figures.map((_, i) => i / (FRAMES - 1));
    steps.forEach((t, i) => figures[i].paint(decode(at(t)), { caption: t.toFixed(2), label: `Position ${t.toFixed(2)} of the walk` }));
    const path = Array.from({ length: 41 }, (_, i) => placed(model(), at(i / 40)));
    state.path = path[0] ? path : null;
    byId("walk-text").textContent = `${describe(sampleIn("walk-from"))} to ${describe(sampleIn("walk-to"))}.`
      + (state.path ? "" : " The plane has no place for the latents between them.");
    tell("path");
  };
  const go = () => { if (ends) setLatent(at(Number(byId("walk-at").value))); };
  for (const id of ["walk-from", "walk-to", "walk-kind"]) byId(id).addEventListener("change", () => { prepare(); go(); });
  byId("walk-at").addEventListener("input", go);
  byId("walk").addEventListener("toggle", () => { if (!byId("walk").open) { state.path = null; tell("path"); } });
  whileOpen("walk", ["model"], prepare);
  setUpPlay(go);
}

// Moves the position from 0 to 1 in four seconds; in single steps where less motion is asked for.
function setUpPlay(go) {
  const button = byId("walk-play"), position = byId("walk-at");
  let begin = null;
  const stop = () => { begin = null; button.textContent = "Play"; };
  const frame = (now) => {
    if (begin === null) return;
    const t = Math.min((now - begin) / 4000, 1);
    position.value = t;
    go();
    if (t < 1) requestAnimationFrame(frame);
    else stop();
  };
  button.addEventListener("click", () => {
    if (begin !== null) { stop(); return; }
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
      position.value = Number(position.value) >= 1 ? 0 : Math.min(Number(position.value) + 0.125, 1);
      go();
      return;
    }
    button.textContent = "Stop";
    begin = performance.now();
    requestAnimationFrame(frame);
  });
}

export function setUpArithmetic() {
  const last = state.content.n - 1;
  ["sum-a", "sum-b", "sum-c"].forEach((id, i) => {
    byId(id).value = numberOf(state.content, Math.min(i, last));
  });
  const figures = strip("sum-figures", 4);
  const compute = (shows) => {
    const which = ["sum-a", "sum-b", "sum-c"].map(sampleIn);
    if (which.includes(null)) return;
    const [a, b, c] = which.map((i) => latentOf(model(), i));
    const z = a.map((value, d) => value - b[d] + c[d]);
    which.forEach((i, k) => figures[k].paint(original(state.content, i), {
      caption: "abc"[k], label: `${"abc"[k]}: ${describe(i)}`,
    }));
    figures[3].paint(decode(z), { caption: "a − b + c", label: "What a − b + c decodes to" });
    const near = describe(nearestLatent(model(), z));
    byId("sum-text").textContent = `The sample with the nearest latent is ${near}.`;
    if (shows) { setLatent(z); say(`a − b + c is decoded. Nearest: ${near}.`); }
  };
  byId("sum-go").addEventListener("click", () => compute(true));
  whileOpen("arithmetic", ["model"], () => compute(false));
}

const PRIORS = {
  normal: "Latents are drawn from N(0, I), the prior that this variational model was trained with.",
  gaussian: "This model has no prior: latents are drawn from a Gaussian that is fitted to those of the "
    + "samples in this page, with their mean and covariance.",
  independent: "This model has no prior: latents are drawn from a Gaussian that is fitted to those of "
    + "the samples in this page, each latent by itself, as there are too many for a covariance.",
};

export function setUpPrior() {
  const figures = strip("prior-figures", 12);
  const draw = () => {
    figures.forEach((figure, i) => figure.paint(decode(drawn(model())), { label: `Sample ${i + 1} of the prior` }));
    byId("prior-text").textContent = PRIORS[model().prior.kind];
  };
  byId("prior-go").addEventListener("click", () => { draw(); say("Twelve new samples are drawn."); });
  whileOpen("prior", ["model"], draw);
}
