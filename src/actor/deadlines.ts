/**
 * Every limit of the runtime, in milliseconds, in one place (runtime-conformance 2.0). All can be overridden when a root is
 * opened, and reach every actor below it; none is infinite.
 */
export const DEADLINES = {
  /** Wait for the acknowledgement of a request to cancel an actor. */
  cancelAck: 500,
  /** Wait for the acknowledgement of a request to cancel a context. */
  ctxCancel: 616,
  /** The whole parallel cancel phase of a nursery. */
  nurseryCancel: 3000,
  /** From the start of a hard reap to SIGKILL. */
  hardKillAfter: 1600,
  /** Of a thread actor: wait after the request, then wait after `terminate()`. */
  threadAbandon: 3000,
  /** From SIGKILL to a confirmed end; then it is reported and left. */
  killConfirm: 1000,
  /** Wait for peers to disconnect when an actor ends. */
  peersClear: 3000,
  /** Taking back a registration, per registry. */
  unregister: 500,
  /** Draining the channel of a cancelled child. */
  linkDrain: 500,
  /** Exchange of hellos. */
  handshakeIn: 10_000,
  /** A child that cannot reach its parent gives up. */
  handshakeOut: 5000,
  /** Election of the registrar: the whole of it. */
  probe: 3000,
  probeAttempt: 1000,
  /** The zygote's answer to a request to fork. */
  forkReturn: 10_000,
  /** A sender without credit waits so long for the receiver to open its end of the stream; then it overruns it. */
  streamOpen: 3000,
  /** A task that does not react to its cancellation. */
  taskGrace: 500,
  /** An actor whose parent is gone has ended by then. */
  orphanGrace: 6000,
} as const satisfies Record<string, number>

export type Deadlines = { -readonly [K in keyof typeof DEADLINES]: number }

/** Numbers that are no deadlines. */
export const LIMITS = {
  /** Items of a stream that a receiver buffers. */
  streamBuffer: 64,
  /** Items beyond that with `allowOverruns`. */
  overflow: 616,
  /** Late items that are dropped while looking for the result of a context. */
  resultDrain: 6,
} as const
