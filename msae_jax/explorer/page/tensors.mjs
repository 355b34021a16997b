// Arrays as Python packs them, and what is said of shapes. A tensor is {data, shape}; its data are a
// Float32Array, an Int32Array, or a Uint8Array of truth values (of samples: of intensities).

const KINDS = {
  bool: Uint8Array,
  float32: Float32Array,
  float64: Float64Array,
  int32: Int32Array,
  uint8: Uint8Array,
};

// Returns the bytes of a text in base64.
function bytesOf(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

// Returns the tensor of {dtype, shape, data}, whose data are compressed (zlib) and in base64.
export async function unpack(packed) {
  const stream = new DecompressionStream("deflate");
  const writer = stream.writable.getWriter();
  writer.write(bytesOf(packed.data));
  writer.close();
  const bytes = new Uint8Array(await new Response(stream.readable).arrayBuffer());
  return { data: new KINDS[packed.dtype](bytes.buffer), shape: packed.shape };
}

export function sizeOf(shape) {
  return shape.reduce((product, length) => product * length, 1);
}

export function stridesOf(shape) {
  const strides = new Array(shape.length);
  for (let i = shape.length - 1, step = 1; i >= 0; i--) {
    strides[i] = step;
    step *= shape[i];
  }
  return strides;
}

// Returns the shape to which all shapes are broadcast, as NumPy does it.
export function broadcastShape(shapes) {
  const rank = Math.max(...shapes.map((shape) => shape.length));
  const result = new Array(rank).fill(1);
  for (const shape of shapes) {
    shape.forEach((length, i) => {
      const axis = rank - shape.length + i;
      if (length !== 1 && result[axis] !== 1 && result[axis] !== length) {
        throw new Error(`shapes do not broadcast: ${shapes.map((s) => `[${s}]`).join(", ")}`);
      }
      if (length !== 1) result[axis] = length;
    });
  }
  return result;
}

const known = new Map();

// Returns an Int32Array with, for each element of `shape` in order, offset + the sum of its
// coordinates times `steps`. Every shape of a graph is the same in each run, so they are kept.
export function indicesOf(shape, steps, offset = 0) {
  const key = `${shape}|${steps}|${offset}`;
  let indices = known.get(key);
  if (indices) return indices;
  indices = new Int32Array(sizeOf(shape));
  const at = new Array(shape.length).fill(0);
  let index = offset;
  for (let i = 0; i < indices.length; i++) {
    indices[i] = index;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index += steps[axis];
      if (++at[axis] < shape[axis]) break;
      index -= steps[axis] * shape[axis];
      at[axis] = 0;
    }
  }
  known.set(key, indices);
  return indices;
}

// Returns where in a tensor of shape `from` each element of its broadcast to `to` lies.
export function broadcastIndices(from, to) {
  const strides = stridesOf(from);
  const steps = to.map((_, axis) => {
    const own = axis - (to.length - from.length);
    return own < 0 || from[own] === 1 ? 0 : strides[own];
  });
  return indicesOf(to, steps);
}

// Returns a tensor of the elements of x at the indices.
export function picked(x, indices, shape) {
  const data = new x.data.constructor(indices.length);
  for (let i = 0; i < indices.length; i++) data[i] = x.data[indices[i]];
  return { data, shape };
}

export function axisOf(axis, rank) {
  return axis < 0 ? axis + rank : axis;
}
