// Mouse, touch and keys in a plane.

import { element, paint } from "./drawing.mjs";
import { original } from "./content.mjs";
import { moved, nearestPoint } from "./latents.mjs";
import { isInside } from "./polygon.mjs";
import { activate, describe, model, say, select, setLatentSoon, state, tell } from "./state.mjs";

const REACH = 9;  // pixels around a point that are as good as the point

// Moves the decoded point of the active model to a place in its plane. Each place follows from where
// the drag began, so that rounding does not add up.
function dragTo(start, place) {
  setLatentSoon(moved(model(), start.z, start.p, place), place);
}

const here = (plane, event) => {
  const box = plane.canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};

// What a press begins: a lasso, a drag of the decoded point or of a sample, or a move of the view.
function gestureAt(plane, x, y, touch) {
  if (state.mode === "lasso") return { kind: "lasso" };
  activate(plane.k);
  const reach = touch ? 2 * REACH : REACH;
  const [mx, my] = plane.toScreen(...state.p);
  const onMark = Math.hypot(mx - x, my - y) <= reach + 3;
  const sample = onMark ? -1 : plane.sampleAt(x, y, reach);
  if (sample >= 0) select(sample);
  if (!onMark && sample < 0) return { kind: "view", x, y };
  const grip = plane.toPlane(x, y);  // a point is rarely gripped at its very middle
  return { kind: "point", start: { z: state.z, p: state.p }, grip };
}

export function listen(plane) {
  const { canvas } = plane;
  const pointers = new Map();
  let gesture = null, apart = 0;

  canvas.addEventListener("pointerdown", (event) => {
    const at = here(plane, event);
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, at);
    hideTip();
    gesture = pointers.size > 1 ? { kind: "pinch" } : gestureAt(plane, ...at, event.pointerType === "touch");
    if (gesture.kind === "lasso") plane.lasso = [at];
    apart = distance(pointers);
  });
  canvas.addEventListener("pointermove", (event) => {
    const at = here(plane, event);
    if (!pointers.has(event.pointerId)) { hover(plane, at, event); return; }
    pointers.set(event.pointerId, at);
    if (gesture.kind === "pinch") {
      const now = distance(pointers);
      if (apart > 0 && now > 0) plane.zoom(now / apart, ...middle(pointers));
      apart = now;
    } else if (gesture.kind === "lasso") {
      plane.lasso.push(at);
      plane.draw();
    } else if (gesture.kind === "point") {
      const [x, y] = plane.toPlane(...at), { start, grip } = gesture;
      dragTo(start, [start.p[0] + x - grip[0], start.p[1] + y - grip[1]]);
    } else {
      plane.view.x -= (at[0] - gesture.x) / plane.view.scale;
      plane.view.y += (at[1] - gesture.y) / plane.view.scale;
      [gesture.x, gesture.y] = at;
      plane.draw(true);
    }
  });
  const end = (event) => {
    pointers.delete(event.pointerId);
    if (gesture?.kind === "lasso" && plane.lasso) catchInside(plane);
    if (gesture?.kind === "point" && !state.isOwn) say("Moved; the decoded sample has changed.");
    if (!pointers.size) gesture = null;
  };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
  canvas.addEventListener("pointerleave", hideTip);
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && document.activeElement !== canvas) return;  // the wheel scrolls the page
    event.preventDefault();
    plane.zoom(Math.exp(-event.deltaY / 400), ...here(plane, event));
  }, { passive: false });
  canvas.addEventListener("focus", () => activate(plane.k));
  canvas.addEventListener("keydown", (event) => { if (onKey(plane, event)) event.preventDefault(); });
}

function distance(pointers) {
  const [a, b] = [...pointers.values()];
  return b ? Math.hypot(a[0] - b[0], a[1] - b[1]) : 0;
}

function middle(pointers) {
  const [a, b] = [...pointers.values()];
  return [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

// Returns whether the key meant something.
function onKey(plane, event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return false;
  const arrow = ARROWS[event.key];
  if (arrow) {
    const step = ((event.shiftKey ? 0.1 : 0.01) * plane.height) / plane.view.scale;
    dragTo({ z: state.z, p: state.p }, [state.p[0] + step * arrow[0], state.p[1] + step * arrow[1]]);
    say("Moved; the decoded sample has changed.");
    return true;
  }
  const step = { PageUp: -1, PageDown: 1 }[event.key];
  if (step) select((state.sample + step + state.content.n) % state.content.n);
  else if (event.key === "Enter") select(nearestPoint(model(), state.p));
  else if (event.key === "Escape") select(state.sample);
  else if (event.key === "+" || event.key === "=") plane.zoom(1.25);
  else if (event.key === "-") plane.zoom(0.8);
  else if (event.key === "0") { plane.fit(); plane.draw(true); }
  else return false;
  return true;
}

// Catches the samples inside the lasso, and forgets the lasso.
function catchInside(plane) {
  const { lasso } = plane, { points } = plane.model;
  plane.lasso = null;
  state.caught = Array.from(plane.model.errors.keys()).filter((i) =>
    isInside(plane.toScreen(points[2 * i], points[2 * i + 1]), lasso));
  tell("caught");
}

const tip = document.getElementById("tip");
let shown = -1;

// Shows the sample under the pointer beside it.
function hover(plane, [x, y], event) {
  const i = plane.sampleAt(x, y, REACH);
  if (i < 0) { hideTip(); return; }
  if (i !== shown) {
    const canvas = element("canvas", { role: "img", "aria-label": describe(i) });
    paint(canvas, original(state.content, i), "tip");
    tip.replaceChildren(canvas, element("div", {}, describe(i)));
    shown = i;
  }
  tip.hidden = false;
  const left = Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 4);
  const top = Math.min(event.clientY + 14, window.innerHeight - tip.offsetHeight - 4);
  tip.style.left = `${left}px`;
  tip.style.top = `${top}px`;
}

function hideTip() {
  tip.hidden = true;
  shown = -1;
}
