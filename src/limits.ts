/**
 * Every bound of Paceline, with unit and reason. A number that bounds something lives here or it does not exist.
 * What a user may change is an option of `paceline start`; the value here is then its default.
 */

const KiB = 1024;
const MiB = 1024 * KiB;

export const limits = {
  // Time. All in milliseconds of the monotonic clock.
  /** How often the core is given the time. Well below the heartbeat, so that timers are not rounded away. */
  tickMs: 10,
  /** Leader to followers. Ten fit into the lease, so one lost heartbeat means nothing. */
  heartbeatMs: 50,
  /** A follower that has heard a leader within this time refuses votes [Raft thesis §4.2.3, §9.6]. */
  electionTimeoutMinMs: 600,
  /** Upper bound of the drawn timeout; the spread keeps candidates from splitting the vote [Raft §5.2]. */
  electionTimeoutMaxMs: 1_200,
  /** A leader that a quorum answered within this time may serve reads alone. Shorter than the time during which
   *  followers refuse votes by the allowed clock drift and then some [Raft thesis §6.4.1]. */
  leaseMs: 300,
  /** After the link to the leader broke, a follower may stand for election once the lease is surely over. */
  leaseOverMs: 350,
  /** A peer that has not been heard for this long is shown as unreachable, and its link is remade. */
  peerSilentMs: 1_500,
  /** First pause before a link is dialled again; doubles up to `redialMaxMs`. */
  redialMinMs: 50,
  redialMaxMs: 1_000,
  /** Handshake of a link from first byte to last. */
  handshakeMs: 2_000,

  // Statements and transactions.
  /** One SQL statement. Past it the process that runs it is killed [D11]. */
  statementMs: 5_000,
  /** An interactive transaction between two requests. It holds the only writer, so it must be short. */
  transactionIdleMs: 5_000,
  /** An interactive transaction as a whole. */
  transactionMs: 30_000,
  /** A stream without an open transaction between two requests. */
  streamIdleMs: 60_000,
  /** How long a request waits for a leader, a position or a place in the queue before it is refused. */
  requestWaitMs: 10_000,

  // Sizes.
  /** A request body. */
  requestBytesMax: 16 * MiB,
  /** Nesting of a JSON body; deeper input is refused before it is parsed. */
  jsonDepthMax: 64,
  /** The answer to one statement, as JSON. */
  responseBytesMax: 10 * MiB,
  /** SQL text of one statement. */
  sqlBytesMax: 1 * MiB,
  /** Pages of one transaction, raw. Above it the transaction is refused: an entry must fit in memory on every node. */
  transactionBytesMax: 256 * MiB,
  /** Client transactions in one group commit. */
  batchUnitsMax: 512,
  /** Request bytes in one group commit. */
  batchBytesMax: 4 * MiB,
  /** Requests waiting for the writer; beyond it new ones are refused as OVERLOADED. */
  writeQueueMax: 10_000,
  /** Requests waiting for a reader. */
  readQueueMax: 10_000,
  /** Statements in one Hrana batch. */
  batchStepsMax: 100_000,
  /** Streams (batons) open on one node. */
  streamsMax: 10_000,
  /** SQL texts kept for one stream. */
  storedSqlMax: 150,

  // Log.
  /** A segment is closed when it has grown past this. */
  segmentBytesMax: 16 * MiB,
  /** Log kept for followers that are behind, by default. Older entries are fetched by page sync. */
  logRetentionBytes: 256 * MiB,
  /** Entries proposed and not yet committed, as bytes; beyond it the writer pauses. */
  uncommittedBytesMax: 64 * MiB,
  /** Appends to one follower that have not been answered. */
  inFlightAppendsMax: 64,
  /** Bytes of them. */
  inFlightBytesMax: 16 * MiB,
  /** Entries bytes in one append message; one larger entry travels alone. */
  appendBytesMax: 1 * MiB,

  // Database.
  pageSize: 4096,
  /** The served WAL is checkpointed when it has more frames than this (16 MiB of pages). */
  checkpointFrames: 4_096,
  /** The scratch WAL is remade from the served one when it has more frames than this (256 MiB of pages). */
  scratchFramesMax: 65_536,
  /** Frames that are applied before the event loop gets a turn: below 5 ms of work. */
  applySliceFrames: 256,

  // Page sync.
  /** Pages whose hashes are compared together first. */
  syncGroupPages: 256,
  /** Pages in one message. */
  syncMessagePages: 64,
  /** Default throttle of a sender, bytes per second. */
  syncBytesPerSecond: 32 * MiB,
  /** Pages that may have changed since they were sent and still go into the last, atomic message. */
  syncFinalPagesMax: 2_048,

  // Peers.
  /** One frame between nodes. Holds the largest entry with room to spare. */
  peerFrameBytesMax: 320 * MiB,
  /** Bytes waiting to be sent on one link before back-pressure is told. */
  peerBufferBytesMax: 32 * MiB,
} as const;
