import type { Size } from '../service/wire.ts';

/** What a feed writes to; `done` is called once the bytes have been parsed. */
export interface Screen {
  write(bytes: Uint8Array, done: () => void): void;
  resize(size: Size): void;
}

/** Who decides when a feed may write. */
export interface Turns {
  /** This feed has something to write. */
  ask(feed: Feed): void;
  /** Whether a little may be written without waiting for a turn. */
  mayWriteNow(feed: Feed): boolean;
}

type Item =
  | { kind: 'output'; bytes: Uint8Array; seq: number; whole: boolean }
  | { kind: 'size'; size: Size; done: () => void }
  | { kind: 'call'; run: () => void };

/** Acknowledge at the latest after this many bytes; the service allows several times as many. */
const ACK_EVERY = 32 * 1024;
const CHUNK = 32 * 1024;
/** The screen is given at most about this much ahead of what it has parsed. */
const AHEAD = 128 * 1024;
/** Up to this much is written at once when nothing is waiting: a key's echo does not queue. */
const AT_ONCE = 4096;
/** Output no longer than this is likely a key's echo, which is not worth a frame to acknowledge. */
const ECHO = 256;
/** ESC c: a snapshot starts on an empty screen, whatever was there. */
const RESET = new Uint8Array([0x1b, 0x63]);

/**
 * Brings a session's output to the screen in order and at a pace the page can
 * bear, and acknowledges what has been parsed. A change of size waits until
 * all output before it has been parsed.
 */
export class Feed {
  /** The position up to which the screen has parsed. */
  parsed = 0;

  private readonly queue: Item[] = [];
  /** Bytes handed to the screen that it has not parsed yet. */
  private writing = 0;
  private acked = 0;

  constructor(
    private readonly screen: Screen,
    private readonly turns: Turns,
    private readonly ack: (seq: number) => void,
  ) {}

  output(bytes: Uint8Array, seq: number): void {
    if (this.queue.length === 0 && this.writing + bytes.length <= AT_ONCE && this.turns.mayWriteNow(this)) {
      this.write({ kind: 'output', bytes, seq, whole: false });
      return;
    }
    this.queue.push({ kind: 'output', bytes, seq, whole: false });
    this.turns.ask(this);
  }

  /** The screen anew: what still waits is older than it and need not be shown; sizes and calls are kept. */
  snapshot(bytes: Uint8Array, seq: number): void {
    const kept = this.queue.filter((item) => item.kind !== 'output');
    this.queue.length = 0;
    this.queue.push(...kept, { kind: 'output', bytes: concat(RESET, bytes), seq, whole: true });
    this.turns.ask(this);
  }

  /** The session's size from here on; `done` is called when it is. */
  size(size: Size, done: () => void = () => undefined): void {
    this.queue.push({ kind: 'size', size, done });
    this.turns.ask(this);
  }

  /** Run something once all output so far has been parsed. */
  then(run: () => void): void {
    this.queue.push({ kind: 'call', run });
    this.turns.ask(this);
  }

  get waiting(): boolean {
    return this.queue.length > 0;
  }

  /** Write what comes next; the bytes written, 0 when output before it must be parsed first. */
  step(): number {
    for (;;) {
      const item = this.queue[0];
      if (!item) return 0;
      if (item.kind !== 'output') {
        if (this.writing > 0) return 0; // its `done` asks for the next turn
        this.queue.shift();
        if (item.kind === 'size') {
          this.screen.resize(item.size);
          item.done();
        } else {
          item.run();
        }
        continue;
      }
      if (this.writing >= AHEAD) return 0;
      this.queue.shift();
      if (item.whole || item.bytes.length <= CHUNK) {
        this.write(item);
        return item.bytes.length;
      }
      const rest = item.bytes.subarray(CHUNK);
      this.queue.unshift({ ...item, bytes: rest });
      this.write({ ...item, bytes: item.bytes.subarray(0, CHUNK), seq: item.seq - rest.length });
      return CHUNK;
    }
  }

  private write(item: Item & { kind: 'output' }): void {
    const { length } = item.bytes;
    this.writing += length;
    this.screen.write(item.bytes, () => {
      this.writing -= length;
      this.parsed = item.seq;
      const idle = this.writing === 0 && this.queue.length === 0;
      const due = Math.abs(item.seq - this.acked);
      if (item.whole || due >= ACK_EVERY || (idle && (due >= AT_ONCE || length > ECHO))) {
        this.acked = item.seq;
        this.ack(item.seq);
      }
      if (this.queue.length > 0) this.turns.ask(this);
    });
  }
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
