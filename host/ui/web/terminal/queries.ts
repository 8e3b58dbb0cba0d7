import type { IFunctionIdentifier, Terminal } from '@xterm/xterm';

/**
 * A program's questions to its terminal are answered by the daemon alone: with
 * no viewer there is still an answer, and with many there is only one. So the
 * page hears them and says nothing.
 */
const QUESTIONS: IFunctionIdentifier[] = [
  { final: 'c' }, // DA1
  { prefix: '>', final: 'c' }, // DA2
  { prefix: '=', final: 'c' }, // DA3
  { final: 'n' }, // DSR, cursor position
  { prefix: '?', final: 'n' }, // DEC DSR, colour scheme
  { intermediates: '$', final: 'p' }, // DECRQM
  { prefix: '?', intermediates: '$', final: 'p' },
  { final: 't' }, // window reports
  { final: 'x' }, // DECREQTPARM
  { prefix: '>', final: 'q' }, // XTVERSION
  { prefix: '?', final: 'u' }, // keyboard protocol
  { prefix: '?', final: 'm' }, // XTQMODKEYS
  { intermediates: '*', final: 'y' }, // DECRQCRA
  { intermediates: '$', final: 'w' }, // DECRQPSR
  { intermediates: '&', final: 'u' }, // DECRQUPSS
];

const STRING_QUESTIONS: IFunctionIdentifier[] = [
  { intermediates: '$', final: 'q' }, // DECRQSS
  { intermediates: '+', final: 'q' }, // XTGETTCAP
];

/** Colours, by OSC number: setting one is allowed, asking for one is not answered. */
const COLOURS = [4, 5, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19];

/** The clipboard: its content is nobody's business. */
const CLIPBOARD = 52;

export function ignoreQueries(terminal: Terminal): void {
  const { parser } = terminal;
  for (const question of QUESTIONS) parser.registerCsiHandler(question, () => true);
  for (const question of STRING_QUESTIONS) parser.registerDcsHandler(question, () => true);
  for (const colour of COLOURS) parser.registerOscHandler(colour, asks);
  parser.registerOscHandler(CLIPBOARD, asks);
}

/** Whether one of an OSC's parameters is a question; a sequence that mixes both is dropped whole. */
export const asks = (data: string): boolean => data.split(';').includes('?');
