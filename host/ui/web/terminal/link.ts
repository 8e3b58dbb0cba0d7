import { backoff } from '../service/backoff.ts';
import { Problem } from '../service/problem.ts';
import type { ClientFrame, Exit, Mode, Size } from '../service/wire.ts';
import { type Position, parseFrame, terminalPath, writeFrame } from './frame.ts';

/** Where a link to a terminal stands. */
export type LinkState =
  | { kind: 'connecting' }
  | { kind: 'live'; mode: Mode }
  /** The connection is gone; the next try follows by itself, from where the output stopped. */
  | { kind: 'lost'; attempt: number; problem: Problem }
  | { kind: 'exited'; exit: Exit }
  | { kind: 'ended'; code: number; why: string };

/** What a link hands on, in the order in which the service sent it. */
export interface LinkListener {
  state(state: LinkState): void;
  size(size: Size): void;
  /** The whole screen anew. `seq` is the position it stands at. */
  snapshot(bytes: Uint8Array, seq: number): void;
  /** Output; `seq` is the position after it. */
  output(bytes: Uint8Array, seq: number): void;
  exit(exit: Exit): void;
  /** So many bytes of output are missing, as no service was there to take them; once for each loss. */
  lost(bytes: number): void;
  /** The service did not take something we sent. */
  refused(detail: string): void;
}

/** The part of `WebSocket` that a link uses. */
export interface Socket {
  binaryType: string;
  onmessage: ((event: MessageEvent) => void) | null;
  onclose: ((event: CloseEvent) => void) | null;
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(code?: number): void;
}

export interface LinkNeeds {
  /** `again` after a failure: then it is worth a look whether the agent is still there. */
  ticket(again: boolean): Promise<string>;
  now(): number;
  open(path: string): Socket;
  after(ms: number, run: () => void): () => void;
}

/** Close codes after which another try makes no sense, and what to say. */
const FINAL: Record<number, string> = {
  1000: 'Detached.',
  4003: 'This browser is no longer allowed to see the terminal.',
  4004: 'The agent has been deleted.',
};

/** A connection that lasted this long was a good one: the next pause is short again. */
const SETTLED_MS = 5000;

/** Input goes out in frames of at most this many bytes, well under what the service takes. */
const LARGEST_FRAME = 32 * 1024;

/**
 * One viewer's connection to one terminal: it asks for a ticket, attaches,
 * keeps count of its position and, when the connection breaks, attaches again
 * from there, so that nothing is lost or seen twice.
 */
export class Link {
  state: LinkState = { kind: 'connecting' };

  private socket: Socket | null = null;
  private position: Position | null = null;
  private snapshotBytes: { seq: number; bytes: number } | null = null;
  private exit: Exit | null = null;
  /** What was said to be lost last: the service says it at every connection. */
  private lost = '';
  private wanted: Size | null = null;
  private attempt = 0;
  private liveSince: number | null = null;
  /** Whether anything has been shown yet. */
  private shown = false;
  /** Counts the connections, so that what an older one still has to say is not heard. */
  private generation = 0;
  private cancelRetry: (() => void) | null = null;

  constructor(
    private readonly agent: string,
    private readonly run: string,
    private mode: Mode,
    private readonly listener: LinkListener,
    private readonly needs: LinkNeeds,
  ) {}

  start(): void {
    void this.connect();
  }

  /** Attach again from where we stand: the network came back, or the mode changed. */
  reconnect(mode: Mode = this.mode): void {
    this.mode = mode;
    void this.connect();
  }

  /** Attach anew, from the whole screen: the agent has another run. */
  restart(): void {
    this.position = null;
    this.reconnect();
  }

  /** The id of the run whose output this is; none before it is known. */
  get epoch(): string {
    return this.position?.epoch ?? '';
  }

  stop(): void {
    this.generation += 1;
    this.cancelRetry?.();
    this.drop();
  }

  /** Keyboard input. False when it could not be sent: what is typed blindly is not kept for later. */
  input(bytes: Uint8Array): boolean {
    if (this.state.kind !== 'live' || this.state.mode !== 'rw') return false;
    for (let at = 0; at < bytes.length; at += LARGEST_FRAME) {
      this.socket?.send(new Uint8Array(bytes.subarray(at, at + LARGEST_FRAME)));
    }
    return true;
  }

  /** The size this viewer would like; said again at every connection. */
  resize(size: Size): void {
    if (this.wanted?.cols === size.cols && this.wanted.rows === size.rows) return;
    this.wanted = size;
    this.sayWanted();
  }

  /** Leave the size to others from now on. */
  leaveSize(): void {
    this.wanted = null;
  }

  /** Everything up to `seq` has been parsed. */
  ack(seq: number): void {
    if (this.state.kind === 'live') this.say({ type: 'ack', seq });
  }

  private async connect(): Promise<void> {
    const generation = ++this.generation;
    this.cancelRetry?.();
    this.drop();
    this.exit = null;
    this.snapshotBytes = null;
    if (this.state.kind !== 'lost') this.enter({ kind: 'connecting' });
    let ticket: string;
    try {
      ticket = await this.needs.ticket(this.attempt > 0);
    } catch (error) {
      if (generation === this.generation) this.failed(Problem.of(error));
      return;
    }
    if (generation !== this.generation) return;
    const socket = this.needs.open(terminalPath(this.agent, this.run, ticket, this.mode, this.position));
    socket.binaryType = 'arraybuffer';
    socket.onmessage = ({ data }) => {
      if (generation !== this.generation) return;
      if (typeof data === 'string') this.text(data);
      else this.binary(new Uint8Array(data as ArrayBuffer));
    };
    socket.onclose = ({ code }) => {
      if (generation === this.generation) this.closed(code);
    };
    this.socket = socket;
  }

  private text(data: string): void {
    const frame = parseFrame(data);
    switch (frame?.type) {
      case 'hello': {
        this.liveSince = this.needs.now();
        // Not where we stand: what is shown is not what the output goes on from.
        const goesOn = this.position?.epoch === frame.epoch && this.position.seq === frame.seq;
        if (this.shown && !goesOn) this.listener.snapshot(new Uint8Array(0), frame.seq);
        this.shown = true;
        this.position = { epoch: frame.epoch, seq: frame.seq };
        this.enter({ kind: 'live', mode: frame.mode });
        this.listener.size(frame);
        this.sayWanted();
        break;
      }
      case 'snapshot':
        this.snapshotBytes = frame;
        break;
      case 'resize':
        this.listener.size(frame);
        break;
      case 'exit':
        this.exit = { code: frame.code ?? null, signal: frame.signal ?? null };
        this.listener.exit(this.exit);
        break;
      case 'lost': {
        const lost = `${this.position?.epoch} ${frame.from} ${frame.to}`;
        if (lost !== this.lost) this.listener.lost(frame.to - frame.from);
        this.lost = lost;
        break;
      }
      case 'error':
        this.listener.refused(frame.detail);
        break;
      default:
    }
  }

  private binary(bytes: Uint8Array): void {
    const snapshot = this.snapshotBytes;
    if (snapshot) {
      this.snapshotBytes = null;
      if (this.position) this.position.seq = snapshot.seq;
      this.listener.snapshot(bytes, snapshot.seq);
      return;
    }
    if (!this.position) return;
    this.position.seq += bytes.length;
    this.listener.output(bytes, this.position.seq);
  }

  private closed(code: number): void {
    this.socket = null;
    if (this.liveSince !== null && this.needs.now() - this.liveSince > SETTLED_MS) this.attempt = 0;
    this.liveSince = null;
    if (code === 4000) this.enter({ kind: 'exited', exit: this.exit ?? {} });
    else if (FINAL[code] !== undefined) this.enter({ kind: 'ended', code, why: FINAL[code] });
    else if (code === 4010) this.failed(new Problem(0, 'backend-gone', 'The backend is not there at the moment.'));
    else this.failed(Problem.unreachable());
  }

  private failed(problem: Problem): void {
    // 4xx will not get better by itself: no such agent, no terminal, not signed in.
    if (problem.status >= 400 && problem.status < 500 && problem.status !== 429) {
      this.enter({ kind: 'ended', code: problem.status, why: problem.message });
      return;
    }
    this.attempt += 1;
    this.enter({ kind: 'lost', attempt: this.attempt, problem });
    this.cancelRetry = this.needs.after(backoff(this.attempt), () => void this.connect());
  }

  private enter(state: LinkState): void {
    this.state = state;
    this.listener.state(state);
  }

  private sayWanted(): void {
    if (this.wanted && this.state.kind === 'live' && this.state.mode === 'rw') {
      this.say({ type: 'resize', ...this.wanted });
    }
  }

  private say(frame: ClientFrame): void {
    this.socket?.send(writeFrame(frame));
  }

  private drop(): void {
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    socket.onmessage = null;
    socket.onclose = null;
    socket.close(1000);
  }
}
