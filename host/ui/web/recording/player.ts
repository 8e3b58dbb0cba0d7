// Loaded only when a recording is shown.
import { create, type Player } from 'asciinema-player';
import 'asciinema-player/dist/bundle/asciinema-player.css';
import { FONT } from '../terminal/font.ts';

/** Nobody waits longer for the next event, in seconds. */
const LONGEST_PAUSE = 2;

/** Plays a cast in the element; what it returns has to be disposed of. */
export function play(cast: string, element: HTMLElement): Player {
  return create({ data: cast }, element, {
    autoPlay: true,
    fit: 'both',
    idleTimeLimit: LONGEST_PAUSE,
    terminalFontFamily: FONT,
  });
}
