// What tests/explorer/test_latents.py asks of the page's latents.mjs; `given` is what it gives.
import * as l from "page/latents.mjs";
import { unpack } from "page/tensors.mjs";
import { isInside } from "page/polygon.mjs";
const f = (values) => Float32Array.from(values);
const own = { dims: 5, latents: f(given.z), points: f(given.points), errors: f(given.z).slice(0, 40),
  mean: f(given.mean), components: f(given.components) };
const free = { ...own, components: null };
const z = (i) => own.latents.slice(5 * i, 5 * i + 5), p = (i) => [own.points[2 * i], own.points[2 * i + 1]];
const prior = { kind: given.gaussian.kind };
for (const name of ["mean", "factor"]) prior[name] = (await unpack(given.gaussian[name])).data;
const draws = Array.from({ length: 20000 }, () => Array.from(l.drawn({ dims: 5, prior })));
const normal = Array.from({ length: 20000 }, () => Array.from(l.drawn({ dims: 5, prior: given.normal })));
const list = (a) => (a === null ? null : Array.from(a));
const found = {
  placed: list(l.placed(own, z(3))), nowhere: l.placed(free, z(3)),
  moved: list(l.moved(own, z(3), p(3), [1, -2])),
  stays: list(l.moved(free, z(3), p(0), p(3))), mixed: list(l.moved(free, z(3), p(3), [0.1, 0.2])),
  linear: list(l.linear(z(0), z(1), 0.3)), spherical: list(l.spherical(z(0), z(1), 0.3)),
  opposite: l.spherical(z(0), z(0).map((v) => -v), 0.5),
  nearest: [l.nearestPoint(own, p(7)), l.nearestLatent(own, z(9))],
  moments: [list(l.moments(own).mean), list(l.moments(own).deviation)],
  inside: [[1, 1], [5, 1], [2.9, 1.5]].map((q) => isInside(q, [[0, 0], [4, 0], [2, 2], [4, 4], [0, 4]])),
  draws, normal,
};
console.log(JSON.stringify(found));
