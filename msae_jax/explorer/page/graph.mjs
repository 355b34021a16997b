// Evaluates a graph of ONNX operators for one sample.

import { CONVOLUTIONS } from "./convolutions.mjs";
import { ELEMENTWISE } from "./elementwise.mjs";
import { LAYOUT } from "./layout.mjs";
import { sizeOf, unpack } from "./tensors.mjs";

export const OPERATORS = { ...CONVOLUTIONS, ...ELEMENTWISE, ...LAYOUT };

function evaluate(nodes, values) {
  for (const node of nodes) {
    // An optional input that is left out has an empty name.
    const inputs = node.inputs.map((name) => (name === "" ? undefined : values.get(name)));
    values.set(node.outputs[0], OPERATORS[node.operator](node, inputs));
  }
}

// Returns the function of a graph, from one Float32Array to another. What depends on constants alone
// is computed once.
export async function compile(graph) {
  const constants = new Map();
  await Promise.all(Object.entries(graph.constants).map(async ([name, packed]) => {
    constants.set(name, await unpack(packed));
  }));
  const running = [];
  for (const node of graph.nodes) {
    const ready = node.inputs.every((name) => name === "" || constants.has(name));
    if (ready) evaluate([node], constants);
    else running.push(node);
  }
  const { input, output } = graph;
  return (data) => {
    if (data.length !== sizeOf(input.shape)) {
      throw new Error(`the graph takes ${sizeOf(input.shape)} values, got ${data.length}`);
    }
    const values = new Map(constants);
    values.set(input.name, { data, shape: input.shape });
    evaluate(running, values);
    return values.get(output.name).data;
  };
}
