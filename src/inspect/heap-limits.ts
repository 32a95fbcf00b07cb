/** Bounds of a look at a heap. Sizes are those of the objects that V8's walks visit, without large arrays, strings and code. */
export interface HeapLimits {
  /** Up to this many MB a snapshot is taken at once. Default 48. */
  surelyMb?: number
  /** Above this many MB no snapshot is taken: V8 needs some 280 bytes for each object in it. Default 160. */
  snapshotMb?: number
  /** Between the two, how long a snapshot may take as foretold by the first walk over the heap, milliseconds. Default 8000. */
  snapshotMs?: number
  /** Above this many MB the heap is not walked at all. Default 1024. */
  stacksMb?: number
}

/** The defaults of {@link HeapLimits}. */
export const HEAP_LIMITS: Readonly<Required<HeapLimits>> = {
  surelyMb: 48,
  snapshotMb: 160,
  snapshotMs: 8000,
  stacksMb: 1024,
}
