// The Memory explorer: which part of a training step takes how much memory, and which GPU has room for it.
import { atPeak, estimate, largestBatch } from "../kit/estimate.js";
import { drawMemory, roomSentence, titleOf } from "../kit/memory_picture.js";
import { fixed, grouped, sizeText } from "../kit/numbers.js";

const labelOf = (options, value) => options.find(([, option]) => option === value)[0];

/** The same as `shown` in explorer.py. */
function shownMemory(state, data) {
  const shape = data.models[state.model];
  const [name, how] = [labelOf(data.names, state.model), labelOf(data.ranks, state.r)];
  const lora = { r: state.r, modules: shape.modules.filter((m) => m.place === "block") };
  const plan = { ...state, lora: state.r ? lora : null };
  const [full, chosen] = [estimate(shape, { ...state, lora: null }), estimate(shape, plan)];
  const moment = Object.keys(chosen.moments).find((key) => chosen.moments[key] === chosen.peak);
  const most = largestBatch(shape, plan, data.gpus.T4 - data.spare);
  const share = fixed((chosen.trainable / chosen.parameters) * 100, 2);
  return {
    title: titleOf(name, how, chosen, data.gpus),
    readout: [
      `${name}, ${how}: ${grouped(chosen.trainable)} of ${grouped(chosen.parameters)} parameters trained (${share}%).`,
      `Peak: ${sizeText(chosen.peak)}, ${data.moments[moment]}. Full fine-tuning: ${sizeText(full.peak)}.`,
      roomSentence(chosen.peak, data.gpus),
      `Largest batch on a T4, ${sizeText(data.spare)} left free: ${most ? grouped(most) : "not one"} of ` +
        `${grouped(state.sequence)} tokens.`,
    ].join("\n"),
    bars: { "full fine-tuning": atPeak(full), ...(state.r ? { [how]: atPeak(chosen) } : {}) },
    gpus: data.gpus,
  };
}

export const explorer = { shown: shownMemory, draw: drawMemory };
