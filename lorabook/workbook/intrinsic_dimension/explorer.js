// The Subspace explorer: a line or plane through θ0 that meets or misses a set of solutions, in three dimensions.
import { fixed } from "../kit/numbers.js";
import { COLOUR, line, path, roomFor, shape, text } from "../kit/svg.js";

const ELEVATION = (24 * Math.PI) / 180;

/** The same as `shown` in explorer.py, which computed every scene: only the point of view is new. */
const shownSubspace = ({ kind, direction, turn }, scenes) => ({ ...scenes[kind][direction], turn });

const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const along = (start, direction, t) => start.map((value, i) => value + t * direction[i]);
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];

/** Unit vectors to the right, up and towards the viewer, from the side that is turned by so many degrees. */
function eye(turn) {
  const [sin, cos] = [Math.sin((turn * Math.PI) / 180), Math.cos((turn * Math.PI) / 180)];
  const [high, low] = [Math.sin(ELEVATION), Math.cos(ELEVATION)];
  return { right: [-sin, cos, 0], up: [-high * cos, -high * sin, low], near: [low * cos, low * sin, high] };
}

function drawScene(shown, width) {
  const { basis, reach } = shown;
  const { right, up, near } = eye(shown.turn);
  const unit = width / 4.5;
  const flat = (point) => [width / 2 + unit * dot(point, right), width / 2 - unit * dot(point, up)];
  const span = (vector, length) => [flat(along([0, 0, 0], vector, -length)), flat(along([0, 0, 0], vector, length))];
  const mark = (point, fill, name) => {
    const [cx, cy] = flat(point);
    return shape("circle", { cx, cy, r: 6, fill, stroke: COLOUR.ink, "data-part": name });
  };
  const [back, middle, front] = [[], [], []];
  ["x", "y", "z"].forEach((name, i) => {
    const axis = [0, 1, 2].map((j) => Number(i === j));
    const [x, y] = flat(along([0, 0, 0], axis, 2.15));
    back.push(path(span(axis, 1.9), COLOUR.rule, { "stroke-width": 1 }));
    back.push(text(x, y + 4, name, { "text-anchor": "middle", "font-size": 12, fill: COLOUR.muted }));
  });
  const solutions = Array.from({ length: 89 }, (_, i) => along(shown.through, shown.along, -2.2 + 0.05 * i));
  const thick = { "stroke-width": 4, "stroke-linecap": "round" };
  if (basis.length === 2) {
    const normal = cross(basis[0], basis[1]);
    const facing = Math.sign(dot(normal, near));
    const rim = Array.from({ length: 73 }, (_, i) => {
      const angle = (2 * Math.PI * i) / 72;
      return flat(along(along([0, 0, 0], basis[0], reach * Math.cos(angle)), basis[1], reach * Math.sin(angle)));
    });
    middle.push(path(rim, COLOUR.blue, { fill: COLOUR.blue, "fill-opacity": 0.3, "stroke-width": 1.5, "data-part": "subspace" }));
    const before = solutions.filter((point) => facing * dot(point, normal) >= 0);
    const behind = solutions.filter((point) => facing * dot(point, normal) < 0); // painted under the plane
    front.push(path(before.map(flat), COLOUR.orange, thick));
    back.push(path(behind.map(flat), COLOUR.orange, thick));
  } else {
    back.push(path(solutions.map(flat), COLOUR.orange, thick));
    middle.push(path(span(basis[0], reach), COLOUR.blue, { "stroke-width": 3, "data-part": "subspace" }));
    front.push(path([flat(shown.inside), flat(shown.solution)], COLOUR.purple, { "data-part": "distance" }));
  }
  const seen = dot(shown.inside, shown.inside) <= reach ** 2;
  if (seen) front.push(mark(shown.inside, basis.length === 2 ? COLOUR.green : COLOUR.purple, "meeting"));
  const [x, y] = flat([0, 0, 0]);
  const side = seen && flat(shown.inside)[0] < x ? 1 : -1; // away from where they meet
  const beside = { "text-anchor": side > 0 ? "start" : "end", "font-size": 14 };
  front.push(mark([0, 0, 0], COLOUR.ink, "θ0"), text(x + 10 * side, y + 20, "θ0", beside));
  return [...back, ...middle, ...front];
}

function drawKey(shown, y, width) {
  const plane = shown.basis.length === 2;
  const seen = dot(shown.inside, shown.inside) <= shown.reach ** 2;
  const entries = [["subspace through θ0", COLOUR.blue], ["solutions", COLOUR.orange]];
  if (seen) entries.push(plane ? ["where they meet", COLOUR.green] : ["nearest point", COLOUR.purple]);
  let [x, row] = [0, y];
  return entries.flatMap(([name, colour]) => {
    const wide = 26 + roomFor(name);
    if (x + wide > width) [x, row] = [0, row + 20];
    const parts = [shape("circle", { cx: x + 6, cy: row - 4, r: 5, fill: colour }), text(x + 16, row, name)];
    x += wide;
    return parts;
  });
}

/** By how much every subspace of the state's kind misses, the state's own marked, and faintly those of the other. */
function drawDistances(shown, left, top, wide, high) {
  const plane = shown.basis.length === 2;
  const [x, y] = [(i) => left + 36 + ((wide - 46) * (i + 0.5)) / shown.distances.length, (value) => top + high * (1 - value / 1.1)];
  const small = { "font-size": 12, "text-anchor": "middle", fill: COLOUR.muted };
  const [kind, others] = plane ? ["planes", "lines"] : ["lines", "planes"];
  const drawn = [text(left, top - 38, `Distance from ten random ${kind} to the solutions`, { "font-weight": 600 })];
  drawn.push(text(left, top - 20, `(${plane ? "pink" : "green"}: from ten random ${others})`, { "font-size": 12, fill: COLOUR.muted }));
  for (const tick of [0, 0.5, 1]) {
    drawn.push(line(left + 36, y(tick), left + wide, y(tick), COLOUR.rule));
    drawn.push(text(left + 30, y(tick) + 4, `${tick}`, { ...small, "text-anchor": "end" }));
  }
  const colour = plane ? COLOUR.green : COLOUR.purple;
  shown.others.forEach((distance, i) => {
    const faint = { opacity: 0.75, "stroke-width": 2 };
    drawn.push(line(x(i), y(0), x(i), y(distance), plane ? COLOUR.purple : COLOUR.green, faint));
    drawn.push(shape("circle", { cx: x(i), cy: y(distance), r: 4, fill: plane ? COLOUR.purple : COLOUR.green, opacity: 0.75 }));
  });
  shown.distances.forEach((distance, i) => {
    const own = i === shown.direction;
    drawn.push(line(x(i), y(0), x(i), y(distance), colour, { "stroke-width": 12 }));
    drawn.push(shape("circle", { cx: x(i), cy: y(distance), r: 6, fill: colour, stroke: own ? COLOUR.ink : colour, "stroke-width": own ? 3 : 1, "data-distance": distance }));
    drawn.push(text(x(i), y(0) + 22, `${i}`, { ...small, fill: own ? COLOUR.ink : COLOUR.muted, "font-weight": own ? 700 : 400 }));
    if (own) drawn.push(text(x(i), y(distance) - 12, fixed(distance, 2), { ...small, fill: COLOUR.ink, "font-weight": 700 }));
  });
  drawn.push(text(left + 36 + (wide - 46) / 2, top + high + 42, "random draw", small));
  return drawn;
}

function drawSubspace(shown, width) {
  const narrow = width < 640;
  const side = narrow ? Math.min(width, 380) : 390;
  const scene = [...drawScene(shown, side), ...drawKey(shown, side + 14, narrow ? width : side + 40)];
  if (narrow) return [[...scene, ...drawDistances(shown, 0, side + 100, width, 180)], side + 330];
  return [[...scene, ...drawDistances(shown, side + 30, 60, width - side - 30, 250)], side + 44];
}

export const explorer = { shown: shownSubspace, draw: drawSubspace };
