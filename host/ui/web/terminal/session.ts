import { signal } from '@preact/signals';
import { api } from '../service/api.ts';
import type { Exit, Mode, Size } from '../service/wire.ts';
import type { Drawing } from './draw.ts';
import { Feed } from './feed.ts';
import { onFontLoaded } from './font.ts';
import { Link, type LinkState } from './link.ts';
import { PAGE, type ScreenListener, type ScreenLook, TerminalScreen, TILE } from './screen.ts';
import { turns } from './turns.ts';

export interface ViewOptions {
  agent: string;
  /** The id of an earlier run, whose last screen is shown; the newest run where it is empty. */
  run: string;
  mode: Mode;
  /** `fit`: this viewer's box sets the size when it may; `follow`: the size is left to others. */
  sizing: 'fit' | 'follow';
  look: ScreenLook;
  tile: boolean;
  drawing: Drawing;
}

const SETTLED_MS = 1000;

/**
 * One terminal in the page: link, feed and screen put together, and what the
 * controls around it show, as signals.
 */
export class TerminalSession {
  readonly state = signal<LinkState>({ kind: 'connecting' });
  readonly title = signal('');
  readonly address = signal<string | null>(null);
  readonly size = signal<Size | null>(null);
  /** Whether another window has set a size that is not this one's, and for more than a moment. */
  readonly sizedElsewhere = signal(false);
  readonly exit = signal<Exit | null>(null);
  readonly matches = signal<{ index: number; count: number } | null>(null);
  /** Something was typed while nothing could be sent. */
  readonly unheard = signal(false);

  readonly screen: TerminalScreen;
  private readonly link: Link;
  private readonly feed: Feed;
  private readonly watch: ResizeObserver;
  private readonly ignoreFont: () => void;
  private readonly newest: boolean;
  private sizing: ViewOptions['sizing'];
  private resizeTimer = 0;
  private compareTimer = 0;
  private lastBeat = Date.now();
  private readonly heart: number;

  constructor(
    box: HTMLElement,
    options: ViewOptions,
    listener: Pick<ScreenListener, 'copyRequest' | 'leave'> & {
      transform(text: Uint8Array): Uint8Array;
      refused(detail: string): void;
      lost(bytes: number): void;
    },
  ) {
    this.newest = options.run === '';
    this.sizing = options.sizing;
    this.screen = new TerminalScreen(
      box,
      {
        input: (bytes) => this.input(listener.transform(bytes)),
        title: (title) => {
          this.title.value = title;
        },
        link: (address) => {
          this.address.value = address;
        },
        matches: (matches) => {
          this.matches.value = matches;
        },
        // A program that may only be watched does not get to offer text either.
        copyRequest: (text) => {
          if (this.writable) listener.copyRequest(text);
        },
        leave: listener.leave,
      },
      options.look,
      options.tile ? TILE : PAGE,
      options.drawing,
    );
    this.feed = new Feed(this.screen, turns, (seq) => this.link.ack(seq));
    turns.join(this.feed);
    this.link = new Link(
      options.agent,
      options.run,
      options.mode,
      {
        state: (state) => this.enter(state),
        size: (size) =>
          this.feed.size(size, () => {
            this.size.value = size;
            this.compareSizes();
          }),
        snapshot: (bytes, seq) => this.feed.snapshot(bytes, seq),
        output: (bytes, seq) => this.feed.output(bytes, seq),
        exit: (exit) => this.feed.then(() => this.ended(exit)),
        refused: listener.refused,
        lost: listener.lost,
      },
      {
        async ticket(again) {
          if (again) await api.run(options.agent, options.run);
          return api.ticket();
        },
        now: () => performance.now(),
        open: (path) => new WebSocket(new URL(path, location.href.replace(/^http/, 'ws'))),
        after: (ms, run) => {
          const timer = setTimeout(run, ms);
          return () => clearTimeout(timer);
        },
      },
    );
    this.screen.setKeyboard(false);
    this.markFirstPaint();
    // For tests, and for whoever looks from the browser's console.
    Object.assign(box, { terminal: this.screen.terminal });
    this.watch = new ResizeObserver(() => this.boxChanged());
    this.watch.observe(box);
    this.ignoreFont = onFontLoaded(() => {
      this.screen.measureAgain();
      this.askForSize();
    });
    this.askForSize();
    addEventListener('online', this.back);
    document.addEventListener('visibilitychange', this.back);
    // A machine that slept has dead connections that it was not notified of.
    this.heart = window.setInterval(() => {
      const slept = Date.now() - this.lastBeat > 30_000;
      this.lastBeat = Date.now();
      if (slept && !document.hidden) this.link.reconnect();
    }, 5000);
    this.link.start();
  }

  get writable(): boolean {
    const state = this.state.value;
    return state.kind === 'live' && state.mode === 'rw';
  }

  setMode(mode: Mode): void {
    this.link.reconnect(mode);
  }

  setSizing(sizing: ViewOptions['sizing']): void {
    this.sizing = sizing;
    if (sizing === 'fit') this.askForSize();
    else this.link.leaveSize();
    this.compareSizes();
  }

  look(look: Partial<ScreenLook>): void {
    this.screen.change(look);
    this.askForSize();
  }

  /** Try again now rather than when the pause is over. */
  retry(): void {
    this.link.reconnect();
  }

  /**
   * The run that was shown, once there is no more to come of it or it cannot be reached; nothing
   * while it is shown, or where an earlier run was asked for.
   */
  get over(): string {
    const { kind } = this.state.value;
    return this.newest && kind !== 'live' ? this.link.epoch : '';
  }

  /** The agent has a new run: start over from its screen. */
  restart(): void {
    this.exit.value = null;
    this.link.restart();
  }

  /** This terminal has the keyboard. */
  focused(): void {
    turns.prefer(this.feed);
  }

  close(): void {
    clearInterval(this.heart);
    clearTimeout(this.resizeTimer);
    clearTimeout(this.compareTimer);
    removeEventListener('online', this.back);
    document.removeEventListener('visibilitychange', this.back);
    this.watch.disconnect();
    this.ignoreFont();
    this.link.stop();
    turns.leave(this.feed);
    this.screen.dispose();
  }

  /** In the browser's timeline: when the screen was first there to see. */
  private markFirstPaint(): void {
    const { terminal } = this.screen;
    const parsed = terminal.onWriteParsed(() => {
      parsed.dispose();
      const rendered = terminal.onRender(() => {
        rendered.dispose();
        performance.mark('terminal-painted');
      });
    });
  }

  private input(bytes: Uint8Array): void {
    if (this.link.input(bytes)) return;
    if (this.state.value.kind === 'lost') this.unheard.value = true;
  }

  private enter(state: LinkState): void {
    this.state.value = state;
    if (state.kind === 'live') {
      this.unheard.value = false;
      this.exit.value = null;
    }
    if (state.kind === 'exited') this.feed.then(() => this.ended(state.exit));
    this.screen.setKeyboard(this.writable);
  }

  private ended(exit: Exit): void {
    this.exit.value = exit;
    this.screen.hideCursor();
  }

  private boxChanged(): void {
    clearTimeout(this.resizeTimer);
    this.resizeTimer = window.setTimeout(() => {
      this.askForSize();
      this.screen.settle();
    }, 60);
  }

  private askForSize(): void {
    const room = this.sizing === 'fit' ? this.screen.roomFor() : null;
    if (room) this.link.resize(room);
    this.compareSizes();
  }

  /** The service answers a wish in its own time, so that a difference counts when it stays. */
  private compareSizes(): void {
    clearTimeout(this.compareTimer);
    const differs = () => {
      const size = this.size.value;
      const room = this.sizing === 'fit' && this.writable ? this.screen.roomFor() : null;
      return size !== null && room !== null && (size.cols !== room.cols || size.rows !== room.rows);
    };
    if (!differs()) this.sizedElsewhere.value = false;
    else this.compareTimer = window.setTimeout(() => (this.sizedElsewhere.value = differs()), SETTLED_MS);
  }

  /** The network is back, or the person is: no need to wait for the next try. */
  private readonly back = (): void => {
    if (document.hidden) return;
    const { kind } = this.state.value;
    if (kind === 'lost') this.link.reconnect();
  };
}
