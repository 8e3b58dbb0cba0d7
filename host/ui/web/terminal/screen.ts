import { ClipboardAddon, type IClipboardProvider } from '@xterm/addon-clipboard';
import { FitAddon } from '@xterm/addon-fit';
import { type ISearchOptions, SearchAddon } from '@xterm/addon-search';
import { Unicode11Addon } from '@xterm/addon-unicode11';
import { WebLinksAddon } from '@xterm/addon-web-links';
import { Terminal } from '@xterm/xterm';
import '@xterm/xterm/css/xterm.css';
import type { Size } from '../service/wire.ts';
import { installStyles } from './csp.ts';
import type { Screen } from './feed.ts';
import { safePaste } from './keys.ts';
import { DARK, LIGHT } from './palette.ts';
import { ignoreQueries } from './queries.ts';
import { type Drawing, draw } from './draw.ts';
import { FONT } from './font.ts';

/** What the fit addon leaves for it. */
const SCROLLBAR = 14;
const MARKS = {
  matchBackground: '#8a6d1a',
  matchOverviewRuler: '#d8b052',
  activeMatchBackground: '#c2571a',
  activeMatchColorOverviewRuler: '#ff9d5c',
};

export interface ScreenListener {
  input(bytes: Uint8Array): void;
  title(title: string): void;
  /** The address that the pointer is on, or null. */
  link(address: string | null): void;
  /** The program would like to put this on the clipboard. */
  copyRequest(text: string): void;
  matches(matches: { index: number; count: number } | null): void;
  /** Keys that leave the terminal, so that the keyboard is never trapped in it. */
  leave(): void;
}

export interface ScreenLook {
  dark: boolean;
  font: number;
  /** Whether a reader gets the text as well as the picture. */
  reader: boolean;
}

/** What differs between a page of its own and a tile among many. */
export interface ScreenKind {
  /** A session larger than the box is shown in smaller letters, down to this size. */
  smallestFont: number;
  /** Letters are no larger than this, whatever is chosen. */
  largestFont: number;
  /** What does not fit is cut off: on the right, and above the last line that has something on it. */
  crops: boolean;
  /** Lines kept above the screen; with none, a line that scrolls away costs next to nothing. */
  scrollback: number;
}

export const PAGE: ScreenKind = { smallestFont: 8, largestFont: 32, crops: false, scrollback: 5000 };
export const TILE: ScreenKind = { smallestFont: 12, largestFont: 12, crops: true, scrollback: 0 };

/** The terminal in the page: xterm.js, its addons and how it fits its box. */
export class TerminalScreen implements Screen {
  readonly terminal: Terminal;
  private readonly fit = new FitAddon();
  private readonly search = new SearchAddon();
  private look: ScreenLook;
  private cell: { font: number; width: number; height: number } | null = null;

  constructor(
    private readonly box: HTMLElement,
    private readonly listener: ScreenListener,
    look: ScreenLook,
    private readonly kind: ScreenKind,
    drawing: Drawing,
  ) {
    installStyles();
    this.look = { ...look, font: Math.min(look.font, kind.largestFont) };
    const terminal = new Terminal({
      allowProposedApi: true, // unicode versions and search marks
      cursorBlink: false,
      fontFamily: FONT,
      fontSize: this.look.font,
      macOptionIsMeta: true,
      minimumContrastRatio: look.dark ? 1 : 4.5,
      rightClickSelectsWord: true,
      screenReaderMode: look.reader,
      scrollback: kind.scrollback,
      theme: look.dark ? DARK : LIGHT,
      linkHandler: {
        activate: (_event, address) => openLink(address),
        hover: (_event, address) => listener.link(address),
        leave: () => listener.link(null),
      },
    });
    this.terminal = terminal;
    terminal.loadAddon(this.fit);
    terminal.loadAddon(this.search);
    terminal.loadAddon(new Unicode11Addon());
    terminal.unicode.activeVersion = '11';
    terminal.loadAddon(
      new WebLinksAddon((_event, address) => openLink(address), {
        hover: (_event, address) => listener.link(address),
        leave: () => listener.link(null),
      }),
    );
    terminal.loadAddon(new ClipboardAddon(undefined, clipboardFor(listener)));
    ignoreQueries(terminal);

    const encoder = new TextEncoder();
    terminal.onData((text) => listener.input(encoder.encode(text)));
    terminal.onBinary((text) => listener.input(Uint8Array.from(text, (char) => char.charCodeAt(0) & 0xff)));
    terminal.onTitleChange((title) => listener.title(plainTitle(title)));
    this.search.onDidChangeResults(({ resultIndex, resultCount }) =>
      listener.matches({ index: resultIndex, count: resultCount }),
    );
    terminal.attachCustomKeyEventHandler((event) => this.key(event));

    terminal.open(box);
    terminal.textarea?.setAttribute('aria-label', 'Terminal. Control Shift Up leaves it.');
    // The page has its own way of pasting; this catches the browser's.
    box.addEventListener('paste', this.pasted, { capture: true });
    if (kind.crops) terminal.onRender(() => this.crop());
    void draw(terminal, drawing);
  }

  write(bytes: Uint8Array, done: () => void): void {
    this.terminal.write(bytes, done);
  }

  resize(size: Size): void {
    this.terminal.resize(size.cols, size.rows);
    this.settle();
  }

  /** The size that would fill the box at the chosen font size. */
  roomFor(): Size | null {
    // A box that is hidden, or no box for a terminal at all.
    if (this.box.clientWidth < 40 || this.box.clientHeight < 30) return null;
    this.measure();
    const proposed = this.font === this.look.font ? this.fit.proposeDimensions() : this.estimate();
    if (!proposed || !Number.isFinite(proposed.cols) || !Number.isFinite(proposed.rows)) return null;
    return { cols: Math.min(Math.max(proposed.cols, 10), 1000), rows: Math.min(Math.max(proposed.rows, 3), 1000) };
  }

  /** Show the session's size in the box we have: in a smaller font when it would not fit. */
  settle(): void {
    const room = this.roomFor();
    if (!room) return;
    const { cols, rows } = this.terminal;
    const scale = Math.min(1, room.cols / cols, room.rows / rows);
    const font = Math.min(this.look.font, Math.max(this.kind.smallestFont, Math.floor(this.look.font * scale * 2) / 2));
    if (font !== this.font) this.terminal.options.fontSize = font;
    if (this.kind.crops) this.crop();
  }

  /** Move what is written last into the box. */
  private crop(): void {
    const { element, rows, buffer } = this.terminal;
    const screen = element?.querySelector<HTMLElement>('.xterm-screen');
    if (!element || !screen || screen.offsetHeight === 0) return;
    const { active } = buffer;
    let last = rows - 1;
    while (last > active.cursorY && (active.getLine(active.baseY + last)?.translateToString(true) ?? '') === '') last -= 1;
    const height = screen.offsetHeight / rows;
    const above = Math.max(0, last + 1 - Math.floor(this.box.clientHeight / height));
    element.style.transform = above > 0 ? `translateY(${-above * height}px)` : '';
  }

  change(look: Partial<ScreenLook>): void {
    this.look = { ...this.look, ...look, font: Math.min(look.font ?? this.look.font, this.kind.largestFont) };
    this.terminal.options.theme = this.look.dark ? DARK : LIGHT;
    this.terminal.options.minimumContrastRatio = this.look.dark ? 1 : 4.5;
    this.terminal.options.screenReaderMode = this.look.reader;
    if (look.font !== undefined) this.terminal.options.fontSize = this.look.font;
    this.settle();
  }

  /** Measure and draw anew with what the font has now. */
  measureAgain(): void {
    // xterm.js measures only when an option changes; a space more or less is a change.
    this.terminal.options.fontFamily = this.terminal.options.fontFamily === FONT ? `${FONT} ` : FONT;
    this.settle();
  }

  /** Whether the keyboard does anything here. */
  setKeyboard(on: boolean): void {
    this.terminal.options.disableStdin = !on;
    this.terminal.options.cursorInactiveStyle = on ? 'outline' : 'none';
  }

  /** Nothing will be typed here any more. */
  hideCursor(): void {
    this.terminal.write('\x1b[?25l');
  }

  /** As if typed. */
  type(text: string): void {
    this.terminal.input(text, true);
  }

  paste(text: string): void {
    this.terminal.paste(safePaste(text));
  }

  find(text: string, direction: 'next' | 'previous', typing = false): void {
    const options: ISearchOptions = { incremental: typing, decorations: MARKS };
    if (text === '') this.clearFind();
    else if (direction === 'next') this.search.findNext(text, options);
    else this.search.findPrevious(text, options);
  }

  clearFind(): void {
    this.search.clearDecorations();
    this.terminal.clearSelection();
    this.listener.matches(null);
  }

  focus(): void {
    this.terminal.focus();
  }

  dispose(): void {
    this.box.removeEventListener('paste', this.pasted, { capture: true });
    this.terminal.dispose();
  }

  private get font(): number {
    return this.terminal.options.fontSize ?? this.look.font;
  }

  /** Remember how large a character is at the chosen font size. */
  private measure(): void {
    const screen = this.terminal.element?.querySelector('.xterm-screen')?.getBoundingClientRect();
    if (!screen || screen.width === 0 || this.font !== this.look.font) return;
    this.cell = { font: this.font, width: screen.width / this.terminal.cols, height: screen.height / this.terminal.rows };
  }

  /** The room at the chosen font size while a smaller one is shown. */
  private estimate(): Size | undefined {
    const { cell } = this;
    if (!cell) return undefined;
    const scale = this.look.font / cell.font;
    // A little more than exact: what fitted when it was measured is not to fall short by a rounding.
    const count = (room: number, size: number) => Math.floor(room / (size * scale) + 0.01);
    return { cols: count(this.box.clientWidth - SCROLLBAR, cell.width), rows: count(this.box.clientHeight, cell.height) };
  }

  private readonly pasted = (event: ClipboardEvent): void => {
    event.preventDefault();
    event.stopPropagation();
    const text = event.clipboardData?.getData('text/plain');
    if (text) this.paste(text);
  };

  /** Keys that are the page's, not the program's. */
  private key(event: KeyboardEvent): boolean {
    if (event.type !== 'keydown' || !event.ctrlKey || !event.shiftKey || event.altKey || event.metaKey) return true;
    switch (event.code) {
      case 'KeyC': {
        const selected = this.terminal.getSelection();
        if (selected) void navigator.clipboard?.writeText(selected);
        event.preventDefault();
        return false;
      }
      case 'KeyV':
        return false; // the browser pastes
      case 'ArrowUp':
        event.preventDefault();
        this.listener.leave();
        return false;
      default:
        return true;
    }
  }
}

/** Programs may ask for text to be put on the clipboard (the page asks the person first) and never read it. */
function clipboardFor(listener: ScreenListener): IClipboardProvider {
  return {
    readText: () => '',
    writeText: (_selection, text) => {
      if (text !== '') listener.copyRequest(text);
    },
  };
}

function openLink(address: string): void {
  let url: URL;
  try {
    url = new URL(address);
  } catch {
    return;
  }
  if (url.protocol === 'https:' || url.protocol === 'http:') window.open(url, '_blank', 'noopener,noreferrer');
}

const plainTitle = (title: string): string => title.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '').slice(0, 120);
