// `lorabook.memory.estimate` once more, for what the explorers offer: full fine-tuning, or LoRA without dropout.
//
// Names and order are those of estimate.py and activations.py, which say why. `shape` is what model_sizes.py makes of a
// model; `plan` has weights, optimizer, batch, sequence, checkpointing, attention and loss as a Plan has them, and
// `lora`, null or {r, modules}.
import { Refusal } from "./refusal.js";

const sum = (values) => values.reduce((total, value) => total + value, 0);

const inBlock = (modules) => modules.filter((m) => m.place === "block");

const size = (m) => m.d * m.k + (m.bias ? m.d : 0);

export function estimate(shape, plan) {
  if (plan.sequence > shape.positions) {
    const problem = `A sequence of ${plan.sequence} tokens does not fit: ${shape.name} has ${shape.positions} positions.`;
    throw new Refusal(`${problem} Give at most ${shape.positions}.`);
  }
  const full = !plan.lora;
  const tensors = full ? everyTensor(shape) : adapterTensors(shape, plan.lora);
  const trainable = sum(tensors);
  const frozen = full ? 0 : frozenBytes(shape, plan);
  const parameters = shape.parameters + (full ? 0 : trainable);
  const work = workOf(shape, plan, full);
  const gradients = 4 * trainable;
  const state = stateBytes(tensors, plan);
  const held = frozen + shape.buffers + 4 * trainable + state;
  let update = 0;
  if (plan.optimizer === "adamw") {
    update = plan.weights === "fp32" ? Math.min(updateBytes(tensors), 12 * trainable) : 4 * trainable;
  }
  const moments = {
    forward: held + work.forward,
    loss: held + work.inLoss,
    "start of backward": held + work.first,
    "end of backward": held + gradients + Math.max(work.last - work.missing, work.tied),
    "optimizer step": held + gradients + update,
  };
  const components = {
    "frozen weights": frozen,
    buffers: shape.buffers,
    "trainable weights": 4 * trainable,
    "optimizer state": state,
    gradients,
  };
  return { components, trainable, parameters, moments, peak: Math.max(...Object.values(moments)) };
}

/** `at_peak` of alive.py: the bytes alive at the fullest moment, by component. */
export function atPeak(found) {
  const moment = Object.keys(found.moments).find((name) => found.moments[name] === found.peak);
  const late = moment === "end of backward" || moment === "optimizer step";
  const { "frozen weights": frozen, buffers, ...others } = found.components;
  const parts = { "frozen weights": frozen, "attention mask etc.": buffers, ...others };
  if (!late) parts.gradients = 0;
  const rest = found.peak - sum(Object.values(parts));
  const inStep = moment === "optimizer step";
  return { ...parts, "activations and loss": inStep ? 0 : rest, "optimizer's workspace": inStep ? rest : 0 };
}

/** `largest_batch` of gpus.py, 0 where even one example is too large. */
export function largestBatch(shape, plan, bytes) {
  const tooLarge = (batch) => estimate(shape, { ...plan, batch }).peak > bytes;
  let [fitting, failing] = [0, 1];
  while (!tooLarge(failing) && failing < 2 ** 24) [fitting, failing] = [failing, 2 * failing];
  while (failing - fitting > 1) {
    const middle = Math.floor((fitting + failing) / 2);
    [fitting, failing] = tooLarge(middle) ? [fitting, middle] : [middle, failing];
  }
  return fitting;
}

function everyTensor(shape) {
  const linears = inBlock(shape.modules).flatMap((m) => (m.bias ? [m.d * m.k, m.d] : [m.d * m.k]));
  return [
    ...shape.modules.filter((m) => m.place === "table").map(size),
    ...Array(shape.layers).fill(linears).flat(),
    ...Array(shape.norms / shape.width).fill(shape.width),
    ...(shape.tied ? [] : [shape.vocabulary * shape.width]),
  ];
}

function adapterTensors(shape, { r, modules }) {
  const pair = (m) => [r * m.k, r * m.d];
  const of = (place) => modules.filter((m) => m.place === place).flatMap(pair);
  return [...of("table"), ...Array(shape.layers).fill(of("block")).flat(), ...of("head")];
}

function frozenBytes(shape, plan) {
  if (plan.weights !== "nf4") return (plan.weights === "fp32" ? 4 : 2) * shape.parameters;
  const sizes = sum(inBlock(shape.modules).map((m) => m.d * m.k));
  return shape.layers * shape.nf4 + 2 * (shape.parameters - shape.layers * sizes);
}

function stateBytes(tensors, plan) {
  if (plan.optimizer === "sgd") return 0;
  if (plan.optimizer === "adamw") return 8 * sum(tensors);
  const large = tensors.filter((n) => n >= 4096);
  const scales = sum(large.map((n) => Math.ceil(n / 256)));
  return 8 * (sum(tensors) - sum(large)) + 2 * sum(large) + 8 * scales;
}

const updateBytes = (tensors) => Math.max(...tensors.map((n, i) => 8 * n + 4 * (i ? tensors[i - 1] : 0)));

/** The bytes that a value takes: c in matrix products, e between blocks, out of a norm; `mask` of a dropout's mask. */
function settingOf(shape, plan, full) {
  const mixed = plan.weights !== "fp32";
  const e = mixed && !full ? 2 : 4;
  const adapted = full ? [] : plan.lora.modules;
  const r = full ? 0 : plan.lora.r;
  const out = shape.rms_norm ? e : 4;
  return { shape, plan, full, adapted, r, mixed, e, out, n: plan.batch * plan.sequence, c: mixed ? 2 : 4, mask: mixed ? 1 : 4 };
}

function workOf(shape, plan, full) {
  const s = settingOf(shape, plan, full);
  const tables = s.adapted.filter((m) => m.place === "table");
  const [stream, again] = [s.e * s.n * shape.width, plan.checkpointing];
  const mask = plan.attention === "eager" ? s.e * plan.batch * plan.sequence ** 2 : 0;
  const start = mask * again + embeddingBytes(s, tables);
  const live = full || tables.length > 0;
  const [block0, block] = [blockOf(s, live), blockOf(s, live || inBlock(s.adapted).length > 0)];
  const kept = (b) => (b.saved && again ? stream : b.saved);
  const before = shape.layers > 1 ? kept(block0) + (shape.layers - 2) * kept(block) : 0; // of all blocks but the last
  const lastBlock = shape.layers > 1 ? block : block0;
  const copies = again ? weightCopies(s, tables) : 0;
  const normed = norm(s, live || inBlock(s.adapted).length > 0).saved;
  const saved = start + before + kept(lastBlock) + normed + copies;
  const [inLoss, back, head] = lossOf(s);
  const backward = (b) => (again ? stream * (s.e === 2) + Math.max(b.forward, b.backward) : b.backward);
  const local = stream + (shape.rotary ? 0 : s.e * plan.sequence * shape.width) + mask * !again;
  const outside = full
    ? sum(shape.modules.filter((m) => m.place === "table" || (m.place === "head" && !shape.tied)).map(size))
    : s.r * sum(tables.map((m) => m.d + m.k));
  return {
    forward: start + before + lastBlock.forward + local + copies,
    inLoss: Math.max(saved + inLoss, saved - copies + back),
    first: start + before + backward(lastBlock) + head,
    last: start + backward(block0),
    tied: full && shape.tied ? 8 * shape.vocabulary * shape.width : 0,
    missing: block0.gradients + 4 * outside - head,
  };
}

function embeddingBytes(s, tables) {
  let saved = s.shape.rotary ? 2 * s.e * s.plan.sequence * s.shape.head_dim : 0;
  if (s.shape.embedding_dropout > 0 && (s.full || tables.length)) saved += s.mask * s.n * s.shape.width;
  for (const m of tables) {
    const tokens = m === s.shape.modules[0] ? s.n : s.plan.sequence;
    saved += s.c * tokens * s.r + 2 * s.r * m.d * s.mixed;
  }
  return saved;
}

function weightCopies(s, tables) {
  if (!s.mixed) return 0;
  if (s.full) return 2 * s.shape.layers * sum(inBlock(s.shape.modules).map((m) => m.d * m.k));
  const adapters = s.shape.layers * sum(inBlock(s.adapted).map((m) => m.d + m.k));
  return 2 * s.r * (adapters + sum(tables.map((m) => m.d)));
}

function lossOf(s) {
  const [h, v, labels] = [s.shape.width, s.shape.vocabulary, s.n];
  const head = s.full ? 4 * v * h : 0;
  const copy = s.full && s.mixed ? 2 * v * h : 0;
  const [hidden, chosen, logits] = [s.out * s.n * h, s.out * labels * h, s.mixed ? 6 : 4];
  if (s.plan.loss === "plain") return [hidden + copy + (logits + 4) * s.n * v, copy + 12 * s.n * v, head];
  const rows = Math.min(labels, s.shape.chunk_rows);
  if (!s.full && !s.adapted.some((m) => m.place === "head")) {
    return [hidden + 2 * chosen + logits * rows * v + s.c * rows * h, 2 * chosen, 0];
  }
  const whole = s.full ? s.c * v * h : 0;
  const earlier = labels > rows ? whole : 0;
  const chunk = Math.max(12 * rows * v + copy + earlier, s.c * rows * v + copy + whole + earlier, whole + 2 * earlier);
  return [hidden + chosen + copy + (logits + 4) * rows * v, 2 * chosen + chunk, head];
}

/** The operations of a block: {saved, forward, backward, gradients}, as `block` of activations.py puts them together. */
function blockOf(s, live) {
  const [n, h, linears] = [s.n, s.shape.width, inBlock(s.shape.modules)];
  const split = linears.findIndex((m) => m.name.startsWith("mlp."));
  const [into, out] = [linears.slice(0, split - 1), linears[split - 1]];
  const [up, down] = [linears.slice(split, -1), linears.at(-1)];
  const stream = s.e * n * h;
  const masks = s.shape.residual_dropout > 0 ? s.mask * n * h : 0;
  const ops = [];

  function half(first, second, middle, third, beside) {
    const shared = second.saved && s.out === s.c;
    const normed = shared ? 0 : s.out * n * h;
    ops.push({ ...first, forward: first.forward + beside, backward: first.backward + stream });
    for (const op of [second, middle, third]) {
      const around = op !== third || s.e !== s.c ? stream : 0;
      ops.push({ ...op, forward: op.forward + beside + (op === second ? 0 : normed), backward: op.backward + around });
    }
  }
  const trained = (layers) => s.full || layers.some((m) => s.adapted.includes(m));
  function outOf(layer, bytes, kept) {
    const op = linear(s, [layer], live, bytes, kept);
    return { ...op, saved: op.saved + masks * (live || trained([layer])) };
  }

  let beside = s.e === 4 && live ? 0 : stream;
  const [norm1, attentionIn] = [norm(s, live), linear(s, into, live, s.out, false)];
  live = live || trained(into);
  half(norm1, attentionIn, attention(s, live), outOf(out, s.c, live && s.plan.attention === "fused"), beside);
  live = live || trained([out]);
  beside += s.e === 4 && live ? 0 : stream;
  const [norm2, mlpIn] = [norm(s, live), linear(s, up, live, s.out, false)];
  live = live || trained(up);
  const [middle, bytesOut] = activation(s, live);
  half(norm2, mlpIn, middle, outOf(down, bytesOut, false), beside);

  let [saved, forward, backward, after] = [0, 0, 0, sum(ops.map((op) => op.gradients))];
  const gradients = after;
  for (const op of ops) {
    saved += op.saved;
    forward = Math.max(forward, saved + op.forward);
    backward = Math.max(backward, saved + op.backward + after);
    after -= op.gradients;
  }
  return { saved, forward, backward, gradients };
}

function norm(s, live) {
  const nh = s.n * s.shape.width;
  const out = s.out * nh;
  if (!live && !s.full) return { saved: 0, forward: out, backward: 0, gradients: 0 };
  if (s.shape.rms_norm) {
    const saved = (s.full ? 8 : 4) * nh + 4 * s.n;
    return { saved, forward: out + 4 * nh, backward: out + 12 * nh, gradients: 4 * s.shape.width * s.full };
  }
  const copies = s.e === 2 ? 8 * s.shape.width : 0;
  const saved = 4 * nh + 8 * s.n + copies;
  return { saved, forward: out, backward: out + 4 * nh, gradients: 8 * s.shape.width * s.full };
}

function linear(s, layers, live, xBytes, xKept) {
  const { n, c, r } = s;
  const k = layers[0].k;
  const hits = layers.filter((m) => s.adapted.includes(m));
  let [saved, gradients, xSaved] = [0, 0, xKept];
  if (s.full) {
    saved = c * n * k * (xBytes > c ? layers.length : Number(!xKept));
    saved += sum(layers.map((m) => 2 * m.d * m.k)) * s.mixed;
    xSaved = xKept || xBytes === c;
    gradients = sum(layers.map((m) => 4 * size(m)));
  } else if (hits.length) {
    const own = xBytes > c;
    saved = c * n * k * (own ? hits.length : Number(!xKept)) + hits.length * c * n * r;
    saved += sum(hits.map((m) => 2 * r * (m.d + m.k * live))) * s.mixed;
    xSaved = xKept || !own;
    gradients = sum(hits.map((m) => 4 * r * (m.d + m.k)));
  }
  const outputs = c * n * sum(layers.map((m) => m.d));
  let forward = outputs + (xSaved ? 0 : xBytes * n * k);
  if (hits.includes(layers.at(-1))) forward += c * n * layers.at(-1).d;
  else if (xBytes > c && !s.full) forward += c * n * k;
  const several = layers.length > 1 ? 3 : hits.length ? 2 : 1;
  let backward = Math.max(several * xBytes, xBytes > c ? 6 : 0) * n * k;
  if (hits.length && !xKept) backward -= c * n * k;
  const largest = Math.max(...layers.map((m) => 2 * m.d * m.k));
  if (s.full && s.mixed) backward += largest;
  if (s.plan.weights === "nf4") [forward, backward] = [forward + largest, backward + largest];
  return { saved, forward, backward: outputs + backward * live, gradients };
}

function attention(s, live) {
  const { n, c, shape, plan } = s;
  const [q, kv] = [shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim];
  const scores = plan.batch * shape.heads * plan.sequence ** 2;
  const dropped = scores * (shape.attention_dropout > 0);
  const [projected, attended] = [c * n * (q + 2 * kv), c * n * q];
  const gradients = attended + 2 * projected;
  let [saved, forward, backward] = [projected + attended + 4 * n * shape.heads, c * n * (q + kv) * shape.rotary, gradients];
  if (plan.attention === "eager") {
    const views = plan.batch === 1 && !shape.rotary;
    saved = (views ? projected : 3 * attended) + (s.mixed ? 6 * scores + dropped : 4 * scores + 8 * dropped);
    forward = projected + attended + 4 * scores;
    backward = Math.max(gradients, (s.mixed ? 6 : 8) * scores);
  }
  return live ? { saved, forward, backward, gradients: 0 } : { saved: 0, forward: saved + forward, backward: 0, gradients: 0 };
}

function activation(s, live) {
  const { c, shape } = s;
  const ni = s.n * shape.inner;
  let [saved, backward, bytesOut] = [c * ni, 2 * c * ni, c];
  if (shape.gated) [saved, backward] = [3 * c * ni, 3 * c * ni];
  else if (shape.activation === "gelu_new") {
    [saved, bytesOut] = [(12 + c) * ni, 4];
    backward = (s.mixed && !s.plan.checkpointing ? 14 : 12) * ni;
  }
  const out = bytesOut * ni;
  const op = { saved, forward: out, backward, gradients: 0 };
  return [live ? op : { saved: 0, forward: out + c * ni, backward: 0, gradients: 0 }, bytesOut];
}
