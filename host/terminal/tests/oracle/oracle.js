// Reads cases from the file named first, a JSON object a line, and answers each with a line:
// {"name", "differences": [...], "shown": whether the text and the cursor are right at once}. A case is {name, cols, rows, scrollback, steps, cut, at, snapshot}:
// one terminal is given all steps; another one, of the size `at`, the snapshot taken before step
// `cut` and the steps from there on. A step is {"write": hex} or {"resize": [cols, rows]}.
'use strict';
const fs = require('fs');
const { Terminal } = require('@xterm/headless');
const { Unicode11Addon } = require('@xterm/addon-unicode11');

const HAS_EXTENDED = 0x10000000;
const COLOR_MODE = 0x03000000;
const FLAGS = 0xfc000000;
const UNDERLINE = 0x10000000;
const GROUND = 0;
const OSC = 8;

function open(cols, rows, scrollback) {
  const terminal = new Terminal({ cols, rows, scrollback, allowProposedApi: true });
  terminal.loadAddon(new Unicode11Addon());
  terminal.unicode.activeVersion = '11';
  // xterm.js forgets a link whose lines are gone, while text that follows still belongs to it.
  const service = terminal._core._oscLinkService;
  const register = service.registerLink.bind(service);
  terminal._core.links = new Map();
  service.registerLink = (data) => {
    const id = register(data);
    terminal._core.links.set(id, data);
    return id;
  };
  terminal.palette = {};
  terminal._core._inputHandler.onColor((events) => {
    for (const { type, index, color } of events) {
      if (type === 1) terminal.palette[index] = color.join();
      if (type === 2 && index === undefined) {
        for (let i = 0; i < 256; i++) delete terminal.palette[i];
      }
      if (type === 2) delete terminal.palette[index];
    }
  });
  return terminal;
}

async function run(terminal, steps) {
  for (const { write, resize } of steps) {
    if (resize) terminal.resize(...resize);
    if (write !== undefined) await put(terminal, write);
  }
}

function put(terminal, hex) {
  return new Promise((done) => terminal.write(Buffer.from(hex, 'hex'), done));
}

// Without what is left in there of a colour with more bits.
function color(value) {
  const direct = (value & COLOR_MODE) === COLOR_MODE;
  return value & COLOR_MODE ? value & (direct ? 0x03ffffff : 0x030000ff) : 0;
}

// A cell's or pen's look. A link is its target; the numbers are each terminal's own.
function look(core, fg, bg, extended) {
  const flags = `${(fg & FLAGS).toString(16)} ${(bg & FLAGS & ~HAS_EXTENDED).toString(16)}`;
  let text = `${color(fg).toString(16)} on ${color(bg).toString(16)} flags ${flags}`;
  if (bg & HAS_EXTENDED && extended) {
    if (fg & UNDERLINE && extended.underlineStyle > 1) text += ` underline ${extended.underlineStyle}`;
    const underline = color(extended.underlineColor);
    if (underline) text += ` underlined in ${underline.toString(16)}`;
    const link = core.links.get(extended.urlId);
    if (link) text += ` link ${link.id ?? ''} ${link.uri}`;
  }
  return text;
}

function cells(core, line, cols) {
  const out = [];
  for (let x = 0; x < cols; x++) {
    const [content, fg, bg] = line._data.subarray(x * 3, x * 3 + 3);
    let chars = line.getString(x);
    const style = look(core, fg, bg, line._extendedAttrs[x]);
    // An empty cell can only be given a background. One that got more, as the rest of a wide
    // character, looks like a space.
    if (chars === '' && content >> 22 === 1 && (fg !== 0 || bg & FLAGS)) chars = ' ';
    out.push(`${JSON.stringify(chars)} width ${content >> 22} ${style}`);
  }
  return out;
}

function charset(set) {
  return set ? `${set.q ?? ''}${set['#'] ?? ''}` : 'ascii';
}

function buffer(terminal, buffer, shown, lines) {
  const core = terminal._core;
  // With scrollback, a saved line is counted from its top and so moves with the text.
  const steady = terminal.options.scrollback === 0;
  const state = {
    region: `${buffer.scrollTop} ${buffer.scrollBottom}`,
    tabs: Object.keys(buffer.tabs).filter((x) => buffer.tabs[x] && x < terminal.cols).join(),
    saved: `${Math.min(buffer.savedX, terminal.cols - 1)} ${steady ? buffer.savedY - buffer.ybase : ''}`,
    savedLook: look(core, buffer.savedCurAttrData.fg, buffer.savedCurAttrData.bg),
    savedCharset: charset(buffer.savedCharset),
  };
  if (shown) state.cursor = `${buffer.x} ${buffer.y}`;
  // From the bottom, since a snapshot holds the newest lines only.
  const length = Math.min(lines, buffer.lines.length);
  for (let n = 0; n < length; n++) {
    const line = buffer.lines.get(buffer.lines.length - 1 - n);
    cells(core, line, terminal.cols).forEach((cell, x) => (state[`line -${n} cell ${x}`] = cell));
    state[`line -${n} wrapped`] = line.isWrapped;
  }
  return state;
}

function dump(terminal, lines) {
  const core = terminal._core;
  const handler = core._inputHandler;
  const parser = handler._parser;
  const { active, normal, alt } = core._bufferService.buffers;
  const state = {
    alternate: active === alt,
    modes: { ...core.coreService.modes, ...core.coreService.decPrivateModes },
    hidden: core.coreService.isCursorHidden,
    mouse: `${core.coreMouseService.activeProtocol} ${core.coreMouseService.activeEncoding}`,
    options: `${core.options.cursorBlink} ${core.options.convertEol}`,
    pen: look(core, handler._curAttrData.fg, handler._curAttrData.bg, handler._curAttrData.extended),
    charset: charset(core._charsetService.charset),
    charsets: [0, 1, 2, 3].map((g) => charset(core._charsetService._charsets[g])).join(),
    level: core._charsetService.glevel,
    title: handler._windowTitle,
    icon: handler._iconName,
    palette: terminal.palette,
    parser: parser.currentState,
    joins: parser.currentState === GROUND && parser.precedingJoinState !== 0,
    utf8: handler._utf8Decoder.interim.join(),
    normal: buffer(terminal, normal, active === normal, lines),
    alt: active === alt ? buffer(terminal, alt, true, lines) : {},
  };
  if (parser.currentState !== GROUND) {
    state.params = JSON.stringify(parser._params.toArray());
    state.collect = parser._collect;
  }
  if (parser.currentState === OSC) {
    state.osc = `${parser._oscParser._id} ${parser._oscParser._active[0]?._data}`;
  }
  return state;
}

function differences(one, two, path = '') {
  if (typeof one !== 'object') {
    return one === two ? [] : [`${path}: ${one} became ${two}`];
  }
  const keys = new Set([...Object.keys(one), ...Object.keys(two)]);
  return [...keys].flatMap((key) => differences(one[key] ?? 'nothing', two[key] ?? 'nothing', `${path} ${key}`));
}

// What a person sees at once, without its colours.
function shown(terminal) {
  const { active } = terminal.buffer;
  const rows = Array.from({ length: terminal.rows }, (_, y) => active.getLine(active.baseY + y));
  const text = rows.map((row) => row?.translateToString().trimEnd());
  return JSON.stringify([text, Math.min(active.cursorX, terminal.cols - 1), active.cursorY]);
}

async function judge(test) {
  const { cols, rows, scrollback, steps, cut, at, snapshot } = test;
  const whole = open(cols, rows, scrollback);
  await run(whole, steps.slice(0, cut));
  const restored = open(...at, scrollback);
  await put(restored, Buffer.from('\x1b[?1049h\x1b[4h\x1b[?25l\x1b[2;3r\x1b[41;4mused').toString('hex'));
  await put(restored, snapshot);
  const lines = () => Math.min(...[whole, restored].map((t) => t._core._bufferService.buffers.normal.lines.length));
  const before = differences(dump(whole, lines()), dump(restored, lines()), 'at once,');
  const isShown = shown(whole) === shown(restored);
  await run(whole, steps.slice(cut));
  await run(restored, steps.slice(cut));
  const after = differences(dump(whole, lines()), dump(restored, lines()), 'then,');
  return { found: [...before, ...after], isShown };
}

async function main() {
  for (const line of fs.readFileSync(process.argv[2], 'utf8').split('\n').filter(Boolean)) {
    const test = JSON.parse(line);
    const failed = (error) => ({ found: [String(error.stack)], isShown: false });
    const { found, isShown } = await judge(test).catch(failed);
    console.log(JSON.stringify({ name: test.name, differences: found.slice(0, 12), shown: isShown }));
  }
}

main();
