import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import serialize from '@xterm/addon-serialize';
import headless from '@xterm/headless';
import type { WebSocket } from 'ws';
import type { Exit, Mode, Session, Size } from '../../web/service/wire.ts';

const { SerializeAddon } = serialize;
const { Terminal } = headless;
const HELPER = fileURLToPath(new URL('./child.py', import.meta.url));
const HISTORY = 512 * 1024;
const WINDOW = 256 * 1024;

interface Viewer {
  socket: WebSocket;
  mode: Mode;
  sent: number;
  acked: number;
}

/** A real child on a PTY with a real terminal beside it: enough of a session for a page to be developed against. */
export class MockSession {
  readonly epoch = randomBytes(4).toString('hex');
  readonly created = new Date().toISOString();
  size: Size = { cols: 80, rows: 24 };
  exit: Exit | null = null;
  stopped = false;
  readonly lines: string[] = [];
  private readonly child: ChildProcess;
  private readonly terminal = new Terminal({ cols: 80, rows: 24, allowProposedApi: true, scrollback: 0 });
  private readonly serializer = new SerializeAddon();
  private readonly viewers = new Set<Viewer>();
  private history = Buffer.alloc(0);
  private seq = 0;

  constructor(
    readonly name: string,
    readonly command: string[],
    readonly directory: string,
    env: Record<string, string>,
    readonly ended: (exit: Exit) => void,
  ) {
    this.terminal.loadAddon(this.serializer);
    this.child = spawn('python3', [HELPER, ...command], {
      cwd: directory,
      env: { ...process.env, ...env },
      stdio: ['pipe', 'pipe', 'inherit', 'pipe'],
    });
    this.child.stdout?.on('data', (bytes: Buffer) => this.output(bytes));
    this.child.on('close', (code) => {
      this.exit = code !== null && code > 128 ? { signal: code - 128 } : { code: code ?? 1 };
      for (const viewer of this.viewers) this.sayExit(viewer);
      ended(this.exit);
    });
  }

  describe(): Partial<Session> {
    return {
      state: this.exit ? 'exited' : 'running',
      exit: this.exit,
      pid: this.child.pid ?? 0,
      size: this.size,
      viewers: this.viewers.size,
      created_at: this.created,
      command: this.command,
      working_dir: this.directory,
    };
  }

  kill(): void {
    this.child.stdin?.end();
  }

  drop(code: number): void {
    for (const { socket } of this.viewers) socket.close(code);
  }

  attach(socket: WebSocket, mode: Mode, from: { seq: number; epoch: string } | null): void {
    const resumed = from?.epoch === this.epoch && from.seq <= this.seq && from.seq >= this.seq - this.history.length;
    const viewer: Viewer = { socket, mode, sent: resumed ? from.seq : this.seq, acked: this.seq };
    this.say(viewer, { type: 'hello', session: this.name, mode, ...this.size, epoch: this.epoch, seq: viewer.sent });
    const begin = () => {
      this.viewers.add(viewer);
      this.pump(viewer);
      if (this.exit) this.sayExit(viewer);
    };
    if (resumed) begin();
    else this.snapshot(viewer, begin);
    socket.on('close', () => this.viewers.delete(viewer));
    socket.on('message', (data: Buffer, binary: boolean) => {
      if (binary) {
        if (mode === 'rw') this.child.stdin?.write(data);
        return;
      }
      const frame = JSON.parse(data.toString()) as { type: string } & Size & { seq: number };
      if (frame.type === 'resize' && mode === 'rw') this.resize({ cols: frame.cols, rows: frame.rows });
      if (frame.type === 'ack') {
        viewer.acked = frame.seq;
        this.pump(viewer);
      }
    });
  }

  private output(bytes: Buffer): void {
    this.seq += bytes.length;
    this.history = Buffer.concat([this.history, bytes]).subarray(-HISTORY);
    this.lines.push(...bytes.toString().split(/\r?\n/).filter(Boolean));
    this.lines.splice(0, this.lines.length - 5000);
    this.terminal.write(bytes);
    for (const viewer of this.viewers) this.pump(viewer);
  }

  private pump(viewer: Viewer): void {
    if (viewer.sent - viewer.acked >= WINDOW) return;
    const start = this.seq - this.history.length;
    if (viewer.sent < start) {
      this.viewers.delete(viewer);
      this.snapshot(viewer, () => {
        this.viewers.add(viewer);
        this.pump(viewer);
      });
      return;
    }
    const bytes = this.history.subarray(viewer.sent - start, viewer.sent - start + WINDOW);
    if (bytes.length > 0) viewer.socket.send(bytes);
    viewer.sent += bytes.length;
  }

  private snapshot(viewer: Viewer, then: () => void): void {
    this.terminal.write('', () => {
      const bytes = Buffer.from(this.serializer.serialize());
      viewer.sent = this.seq;
      viewer.acked = this.seq;
      this.say(viewer, { type: 'snapshot', seq: this.seq, bytes: bytes.length });
      viewer.socket.send(bytes);
      then();
    });
  }

  private resize(size: Size): void {
    if (size.cols === this.size.cols && size.rows === this.size.rows) return;
    this.size = size;
    this.terminal.resize(size.cols, size.rows);
    const sizes = this.child.stdio[3] as NodeJS.WritableStream;
    if (!this.exit) sizes.write(`${size.cols} ${size.rows}\n`);
    for (const viewer of this.viewers) this.say(viewer, { type: 'resize', ...size });
  }

  private sayExit(viewer: Viewer): void {
    this.say(viewer, { type: 'exit', ...this.exit });
    viewer.socket.close(4000);
  }

  private say(viewer: Viewer, frame: object): void {
    viewer.socket.send(JSON.stringify(frame));
  }
}
