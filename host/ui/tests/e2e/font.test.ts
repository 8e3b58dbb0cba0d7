/** What the terminal's font leaves on the screen, pixel by pixel. */
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { complaintsOf, launch, signedIn, untilLive, untilShows } from './browser.ts';
import { create, info, removeAll, until, URL_BASE } from './service.ts';

const { capabilities } = await info();
const folder = process.env.AGENTD_E2E_SHOTS ?? fileURLToPath(new URL('../../shots/', import.meta.url));
const DEFAULT = 14;
const SIZES = Array.from({ length: 27 }, (_, index) => index + 6);
/** What WebGL is looked at with, which draws slowly without a graphics card. */
const SOME_SIZES = SIZES.filter((size) => size % 4 === 2);

/** Each letter has a cell of its own with empty ones around it. */
const LETTERS = ['_', 'g', 'Å', '|', 'a', 'ř', 'Ж', 'Σ', '⠿'];
const LINES = [LETTERS.map((letter) => ` ${letter} `).join(''), '', ' ██ ││ ── ┼┼ ▄▄', ' ██ ││ ── ┼┼ ▀▀'];
/** The columns of the third line at which its pairs begin. */
const [BLOCK, BAR, DASH, CROSS, HALVES] = [1, 4, 7, 10, 13];

let plain: Browser;
/** A page without a policy, in which pictures are read. */
let reader: Page;

beforeAll(async () => {
  mkdirSync(folder, { recursive: true });
  plain = await launch();
  reader = await plain.newPage();
});
afterAll(async () => {
  await removeAll();
  await plain.close();
});

interface Shown extends HTMLElement {
  terminal: import('@xterm/xterm').Terminal;
}

/** How much of each device pixel is not background, from 0 to 250. */
interface Ink {
  width: number;
  height: number;
  at: Buffer;
}

const FULL = 250;

async function inkOf(page: Page, clip: { x: number; y: number; width: number; height: number }): Promise<Ink> {
  const png = (await page.screenshot({ clip })).toString('base64');
  const { width, height, text } = await reader.evaluate(async (picture) => {
    const bitmap = await createImageBitmap(await (await fetch(`data:image/png;base64,${picture}`)).blob());
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
    if (!context) throw new Error('no canvas');
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
    const light = (index: number) => ((data[index] ?? 0) + (data[index + 1] ?? 0) + (data[index + 2] ?? 0)) / 3;
    const background = light(0);
    // The darkest or lightest there is: full ink.
    let most = 1;
    for (let index = 0; index < data.length; index += 4) most = Math.max(most, Math.abs(light(index) - background));
    // As a string, which crosses to here much faster than numbers do.
    const parts: string[] = [];
    for (let index = 0; index < data.length; index += 4) parts.push(String.fromCharCode(Math.round((Math.abs(light(index) - background) / most) * 250)));
    return { width: bitmap.width, height: bitmap.height, text: parts.join('') };
  }, png);
  return { width, height, at: Buffer.from(text, 'latin1') };
}

interface Area {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

const pixels = (ink: Ink, area: Area): number[] => {
  const found: number[] = [];
  for (let y = Math.round(area.top); y < Math.round(area.bottom); y += 1)
    for (let x = Math.round(area.left); x < Math.round(area.right); x += 1) found.push((ink.at[y * ink.width + x] ?? 0) / FULL);
  return found;
};
const sum = (values: number[]): number => values.reduce((total, value) => total + value, 0);

/** The ink of a letter with room on all sides, drawn by the browser beside the terminal. */
async function unclipped(page: Page): Promise<number[]> {
  const boxes = await page.evaluate((letters) => {
    const { terminal } = document.querySelector('.screen') as Shown;
    const sheet = document.createElement('div');
    sheet.id = 'unclipped';
    Object.assign(sheet.style, {
      position: 'fixed',
      inset: '0',
      zIndex: '99',
      color: terminal.options.theme?.foreground,
      background: terminal.options.theme?.background,
      fontFamily: terminal.options.fontFamily,
      fontSize: `${terminal.options.fontSize}px`,
      textRendering: 'geometricPrecision',
    });
    for (const [index, letter] of letters.entries()) {
      const box = document.createElement('div');
      Object.assign(box.style, { position: 'absolute', left: `${index * 80 + 20}px`, top: '20px', width: '60px', height: '80px', lineHeight: '80px' });
      box.textContent = letter;
      sheet.append(box);
    }
    // As the blocks do in the terminal, this shows how dark full ink is.
    const full = document.createElement('div');
    Object.assign(full.style, { position: 'absolute', left: '1px', top: '1px', width: '3px', height: '3px', background: terminal.options.theme?.foreground });
    sheet.append(full);
    document.body.append(sheet);
    return letters.map((_, index) => ({ left: index * 80 + 5, right: index * 80 + 80 }));
  }, LETTERS);
  const ratio = await page.evaluate(() => devicePixelRatio);
  const ink = await inkOf(page, { x: 0, y: 0, width: LETTERS.length * 80, height: 120 });
  await page.evaluate(() => document.getElementById('unclipped')?.remove());
  return boxes.map(({ left, right }) => sum(pixels(ink, { left: left * ratio, right: right * ratio, top: 0, bottom: ink.height })));
}

/** What is wrong with the characters at a size, in words. */
async function faults(page: Page, size: number): Promise<string[]> {
  const screen = await page.evaluate(async (wanted) => {
    const { terminal } = document.querySelector('.screen') as Shown;
    const rendered = new Promise<void>((resolve) => {
      const once = terminal.onRender(() => {
        once.dispose();
        resolve();
      });
    });
    terminal.options.fontSize = wanted;
    terminal.refresh(0, terminal.rows - 1);
    await rendered;
    // Drawn in the next frame; on the screen in the one after it.
    for (let frame = 0; frame < 2; frame += 1) await new Promise(requestAnimationFrame);
    const box = (document.querySelector('.xterm-screen') as HTMLElement).getBoundingClientRect();
    return { x: box.x, y: box.y, width: box.width / terminal.cols, height: box.height / terminal.rows, ratio: devicePixelRatio };
  }, size);
  const columns = Math.max(...LINES.map((line) => line.length));
  const ink = await inkOf(page, { x: screen.x, y: screen.y, width: columns * screen.width, height: LINES.length * screen.height });
  const area = (column: number, row: number, columnCount = 1, rowCount = 1): Area => ({
    left: column * screen.width * screen.ratio,
    top: row * screen.height * screen.ratio,
    right: (column + columnCount) * screen.width * screen.ratio,
    bottom: (row + rowCount) * screen.height * screen.ratio,
  });
  const whole = await unclipped(page);
  const wrong: string[] = [];
  for (const [index, letter] of LETTERS.entries()) {
    const share = sum(pixels(ink, area(index * 3, 0, 3))) / (whole[index] ?? 1);
    if (!(share > 0.8)) wrong.push(`${size} px: ${Math.round(share * 100)} % of ${letter} is there`);
  }
  // Full blocks fill their cells, at the default size without a gap; the outermost pixels are shared with others.
  // Elsewhere the browser and xterm.js may round the height of a line differently, by a pixel.
  const { left, right, top, bottom } = area(BLOCK, 2, 2, 2);
  const block = pixels(ink, { left: left + 1, right: right - 1, top: top + 1, bottom: bottom - 1 });
  const [filled, palest] = [sum(block) / block.length, Math.min(...block)];
  if (filled < 0.8) wrong.push(`${size} px: ${Math.round(filled * 100)} % of the blocks is filled`);
  if (size === DEFAULT && palest < 0.45) wrong.push(`${size} px: a gap between blocks, ${Math.round(palest * 100)} %`);
  // Lines go on from cell to cell.
  const rows = (column: number) => {
    const cell = area(column, 2, 1, 2);
    const lines: number[] = [];
    for (let y = Math.round(cell.top) + 1; y < Math.round(cell.bottom) - 1; y += 1) lines.push(Math.max(...pixels(ink, { ...cell, top: y, bottom: y + 1 })));
    return Math.min(...lines);
  };
  const across = (column: number) => {
    const cell = area(column, 2, 2, 1);
    const lines: number[] = [];
    for (let x = Math.round(cell.left) + 1; x < Math.round(cell.right) - 1; x += 1) lines.push(Math.max(...pixels(ink, { ...cell, left: x, right: x + 1 })));
    return Math.min(...lines);
  };
  for (const [name, least] of [['│', rows(BAR)], ['┼ down', rows(CROSS)], ['─', across(DASH)], ['┼ across', across(CROSS)]] as const) {
    if (least < 0.2) wrong.push(`${size} px: ${name} is broken, ${Math.round(least * 100)} %`);
  }
  const halves = sum(pixels(ink, area(HALVES, 2, 2, 2))) / pixels(ink, area(HALVES, 2, 2, 2)).length;
  if (Math.abs(halves - 0.5) > 0.15) wrong.push(`${size} px: ${Math.round(halves * 100)} % of the half blocks is filled`);
  return wrong;
}

describe.runIf(capabilities.includes('terminal'))('the font', () => {
  test.each([
    ['elements', 1],
    ['elements', 1.25],
    ['elements', 2],
    ['webgl', 1],
    ['webgl', 1.25],
    ['webgl', 2],
  ] as const)('shows every pixel of its characters, %s at %s×', async (drawing, scale) => {
    // A screen that has this many pixels, and not one that is made to look so: WebGL sees through that.
    const browser = await launch([`--force-device-scale-factor=${scale}`, '--window-size=1200,800']);
    const made = await create({ command: ['sh', '-c', `printf '\\033[?25l%s\\n' "$@"; read line`, 'sh', ...LINES] });
    const page = await signedIn(browser, '', { viewport: null, colorScheme: 'light' });
    await page.evaluate((chosen) => localStorage.setItem('agentd-drawing', JSON.stringify(chosen)), drawing);
    await page.goto(`${URL_BASE}/#/agents/${made.id}/terminal`);
    await page.reload();
    expect(await page.evaluate(() => devicePixelRatio)).toBe(scale);
    await untilLive(page);
    await untilShows(page, '▀▀');
    if (drawing === 'webgl') await page.locator('.xterm-screen > canvas:not(.xterm-link-layer)').first().waitFor();
    // Parts of the font that come later draw the screen anew.
    await until('all parts of the font', () => page.evaluate(() => document.fonts.status === 'loaded'));
    const wrong: string[] = [];
    for (const size of drawing === 'webgl' ? SOME_SIZES : SIZES) wrong.push(...(await faults(page, size)));
    await faults(page, DEFAULT);
    await page.screenshot({ path: `${folder}/font-${drawing}-${scale}.png`, clip: { x: 0, y: 0, width: 600, height: 300 } });
    expect(wrong).toEqual([]);
    expect(complaintsOf(page)).toEqual([]);
    await browser.close();
  }, 240_000);

  test('its licences are among those that come with the page', async () => {
    const licenses = await (await fetch(`${URL_BASE}/licenses.md`)).text();
    for (const font of ['cascadia-mono', 'fira-code']) expect(licenses).toContain(`@fontsource/${font}`);
    expect(licenses).toContain('SIL OPEN FONT LICENSE');
  });
});
