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
  /** A client that is less patient (paceline-deadline-ms) is taken to be this patient: ending a statement costs a
   *  process. */
  patienceMinMs: 1_000,
  /** A statement that works on whole tables (VACUUM, REINDEX, CREATE INDEX, ALTER TABLE, …) may take as much longer
   *  as the database is large: 1 MiB a second, several times what a slow disk needs. */
  upkeepBytesPerMs: MiB / 1_000,
  /** An interactive transaction between two requests. It holds the only writer, so it must be short. */
  transactionIdleMs: 5_000,
  /** An interactive transaction as a whole. */
  transactionMs: 30_000,
  /** A stream without an open transaction between two requests. */
  streamIdleMs: 60_000,
  /** How long a request waits for a leader, a position or a place in the queue before it is refused. */
  requestWaitMs: 10_000,

  // HTTP.
  /** From a connection's first byte to the end of a request's headers: a slow sender is cut off. */
  httpHeadersMs: 10_000,
  /** From a request's first byte to its last: the largest body at 13 Mbit/s. */
  httpRequestMs: 60_000,
  /** A client that takes none of its answer for this long is cut off, at the latest after twice as long: Node looks
   *  once in this time whether the kernel could send anything. */
  httpStalledMs: 15_000,
  /** An idle connection is kept this long: longer than the usual load balancer keeps it, so that the balancer and
   *  not we end it, and no request is sent into a closing connection. */
  httpKeepAliveMs: 72_000,
  /** How often slow connections are looked for. */
  httpCheckMs: 1_000,
  /** On closing, requests under way may still finish within this time. */
  httpDrainMs: 5_000,
  /** Connections open at once, links between nodes included. */
  httpConnectionsMax: 10_000,
  /** Request line and headers. */
  httpHeaderBytesMax: 16 * KiB,
  /** A request from one node to another carries a client's request (`requestBytesMax`), whose stored SQL texts are
   *  written out in full (`expandedSqlBytesMax`), and whose empty lists are named (40 bytes a statement). */
  internalBytesMax: 144 * MiB,
  /** Bodies up to this size are taken at once; larger ones share `largeBodiesBytesMax`. */
  smallBodyBytes: 256 * KiB,
  /** Bodies of large requests that are received or run at one time, over all clients of a node: the next one waits
   *  for `requestWaitMs`. Parsing takes about four times as much memory. Room for one from another node. */
  largeBodiesBytesMax: 256 * MiB,
  /** Large answers that wait for their clients at one time; a read beyond it is refused. Room for one of each reader
   *  that is always there, and more. */
  largeAnswersBytesMax: 512 * MiB,
  /** What still comes of a body that was refused is read and thrown away up to this size, so that its sender gets to
   *  read why. */
  discardedBytesMax: 256 * MiB,
  /** A request from one node to another is not answered for this long: transactionMs, requestWaitMs, the largest
   *  transaction over a slow link, and some. A node that is gone is found out in another way, at once. */
  forwardMs: 120_000,
  /** The same, where the whole database is read or written: verify, VACUUM, CREATE INDEX. */
  verifyMs: 600_000,
  /** Connecting to another node. */
  forwardConnectMs: 1_000,
  /** Connections to one other node for forwarded requests. */
  forwardConnectionsMax: 64,
  /** How often the parent of a busy SQL process looks at what it is doing. */
  progressPollMs: 100,
  /** How often a SQL process looks whether its node is still there. */
  orphanPollMs: 500,
  /** Reader processes at most, those of interactive read transactions included. */
  readersMax: 8,
  /** A cursor that reads is answered in pieces of about this size, each made when the client took the one before. */
  cursorPieceBytes: 256 * KiB,
  /** A cursor that is still being read after this is ended: its view of the database keeps the WAL from being reset. */
  cursorMs: 600_000,
  /** Units sent to a reader before it has answered the first: hides the way there and back. */
  readerDepth: 8,
  /** A reader that has been busy with one unit for this long gets no further ones behind it. */
  readerBusyMs: 5,

  // Clients and routers.
  /** Between two questions to a node about its state, by a client or router. */
  watchMs: 200,
  /** The same while nobody is known to lead: a new leader should be found as soon as there is one. */
  watchHurryMs: 25,
  /** One such question. A half-open connection is found out by this, and given up. */
  watchAskMs: 1_000,
  /** Writes to a node that is silent for so long are given up, as unknown, even if nobody else leads. */
  writeSilentMs: 10_000,
  /** A read that waits for a position on a follower goes elsewhere if the follower still lacks it after this. */
  catchUpMs: 500,
  /** A follower further behind is not read from while there is another, or the leader. */
  readLagMs: 1_000,
  /** Requests that wait for a connection to one node; more are refused. */
  routedQueueMax: 1_000,
  /** Requests in a router at one time, those that wait for a leader included. */
  routedMax: 10_000,
  /** Client sessions whose position a router remembers; the one unused for longest is forgotten. */
  routerSessionsMax: 100_000,

  // Sizes.
  /** One text, blob or row, in SQLite. */
  valueBytesMax: 64 * MiB,
  /** A request body: one such value as base64, which takes 4 bytes for 3, and the rest. */
  requestBytesMax: 96 * MiB,
  /** Nesting of a JSON body; deeper input is refused before it is parsed. */
  jsonDepthMax: 64,
  /** Objects and arrays in a JSON body: they cost far more memory than bytes. */
  jsonContainersMax: 2_000_000,
  /** SQL texts of one request, with stored texts written out wherever they are referred to. */
  expandedSqlBytesMax: 32 * MiB,
  /** The answer to one request of a pipeline, or to a batch that writes, as JSON: one value as base64 and the rest. A
   *  cursor that reads has no such limit. */
  responseBytesMax: 96 * MiB,
  /** SQL text of one statement. SQLite itself takes 1 GB; but every process that sees a text for the first time reads
   *  it from end to end. Holds a bulk INSERT written out. */
  sqlBytesMax: 16 * MiB,
  /** Pages of one transaction, raw. Above it the transaction is refused: an entry must fit in memory on every node. */
  transactionBytesMax: 256 * MiB,
  /** Rows of the statement before that changes() can tell inside a view or the like, after another client used the
   *  connection: so many rows of ours are updated for it. */
  restoredChangesMax: 1_000_000,
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
  /** Characters of all SQL texts kept for all streams of one node. */
  storedSqlCharsMax: 64 * MiB,
  /** How long a closed stream is remembered, so that a late request learns why it was closed. */
  streamTombstoneMs: 300_000,
  /** Closed streams remembered at once. */
  streamTombstonesMax: 10_000,

  // Log.
  /** A segment is closed when it has grown past this. */
  segmentBytesMax: 16 * MiB,
  /** Log kept for followers that are behind, by default. Older entries are fetched by page sync. */
  logRetentionBytes: 256 * MiB,
  /** Newest entries kept in memory, so that followers in step are served without a read. */
  logCacheBytesMax: 32 * MiB,
  /** Entries proposed and not yet committed, as bytes; beyond it the writer pauses. */
  uncommittedBytesMax: 64 * MiB,
  /** Appends to one follower that have not been answered. */
  inFlightAppendsMax: 64,
  /** Bytes of them. */
  inFlightBytesMax: 16 * MiB,
  /** Slower than this (4 MiB a second), a disk or a link that is busy with a large entry counts as dead. */
  slowBytesPerMs: (4 * MiB) / 1_000,
  /** Entries bytes in one append message; one larger entry travels alone. */
  appendBytesMax: 1 * MiB,

  /** Less room than this left on the disk: then SQLite's "database or disk is full" is about the disk. */
  diskReserveBytes: 16 * MiB,

  // Database.
  pageSize: 4096,
  /** The served WAL is checkpointed when it has more frames than this (64 MiB of pages): often enough to stay short,
   *  seldom enough that a page written again and again is copied once. */
  checkpointFrames: 16_384,
  /** No read transaction begins for so long when the WAL has twice `checkpointFrames` and a view keeps it from starting
   *  over; for `transactionIdleMs` at four times as much. Longer than most transactions. Then they begin for twice as
   *  long at least. */
  viewPauseMs: 1_000,
  /** The scratch WAL is remade from the served one when it has more frames than this (256 MiB of pages). */
  scratchFramesMax: 65_536,
  /** Frames that are applied before the event loop gets a turn: below 5 ms of work. */
  applySliceFrames: 256,

  // Page sync.
  /** Pages whose hashes are compared together first. A group that differs costs 512 bytes of page hashes, an eighth of
   *  a page; all groups of 100 GiB cost 3 MiB. */
  syncGroupPages: 64,
  /** Pages in one message. */
  syncMessagePages: 64,
  /** Default throttle of a sender, bytes per second. */
  syncBytesPerSecond: 8 * MiB,
  /** Pages that may have changed since they were sent and still go into the last, atomic message. */
  syncFinalPagesMax: 2_048,

  /** Programs outside the cluster that copy the database of a node at the same time. Each reads all of it. */
  copiesMax: 2,
  /** Groups whose page hashes travel in one message: 4096 hashes, 32 KiB. */
  syncHashGroups: 64,
  /** Changes may come so fast that a round never shrinks; a sync that has not ended after so many is given up. */
  syncRoundsMax: 100,

  /** The longest delay of a delayed follower: 30 days. Its log holds all that was written meanwhile. */
  applyDelayMsMax: 30 * 24 * 3_600_000,

  /** Change streams that are open on a node at the same time. */
  changeStreamsMax: 64,
  /** Bytes that a change stream over WebSocket gives to the kernel at once, so that progress can be seen. */
  changeFragmentBytes: 256 * KiB,
  /** Bytes of it that wait to be taken before the stream waits. */
  changeBufferBytesMax: 1 * MiB,
  /** One message of its consumer, who has nothing to say. */
  changeClientBytesMax: 1 * KiB,
  /** Between two pings to its consumer. */
  changePingMs: 20_000,
  /** A consumer that neither answered nor took anything for so long is gone. */
  changeSilentMs: 60_000,
  /** A consumer has so long to answer that the stream is closed. */
  changeCloseMs: 2_000,

  // Peers.
  /** Between two pulses of a link. Seven fit into `peerSilentMs`. */
  peerPulseMs: 200,
  /** One frame of a peer that has not proved who it is. */
  peerHandshakeBytesMax: 1 * KiB,
  /** Connections that have not proved who they are, at one time; more are closed at once. */
  peerPendingMax: 64,
  /** Bytes that a page sync may have queued on its link before `drained` makes it wait. */
  peerSyncBufferBytes: 1 * MiB,
  /** Bytes given to the kernel in one write, so that progress on a huge frame can be seen. */
  socketWriteBytes: 1 * MiB,
  /** One frame between nodes. Holds the largest entry with room to spare. */
  peerFrameBytesMax: 320 * MiB,
  /** Bytes waiting to be sent on one link before back-pressure is told. */
  peerBufferBytesMax: 32 * MiB,
} as const;
