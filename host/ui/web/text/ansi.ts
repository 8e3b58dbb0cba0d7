/** Text without its terminal control sequences, for places that show lines and not screens. */
export function plain(text: string): string {
  return text.replace(SEQUENCES, '').replace(CONTROLS, '');
}

const SEQUENCES = new RegExp(
  [
    '\\x1b\\[[0-?]*[ -/]*[@-~]', // CSI
    '\\x1b\\][^\\x07\\x1b]*(?:\\x07|\\x1b\\\\)?', // OSC
    '\\x1b[PX^_][^\\x1b]*(?:\\x1b\\\\)?', // DCS, SOS, PM, APC
    '\\x1b[ -/]*[0-~]', // the short ones
  ].join('|'),
  'g',
);
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;
