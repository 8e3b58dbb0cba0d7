/**
 * Text lines out of a stream of bytes, however it was cut. A line ends with
 * LF, CR LF, or (as server-sent events allow) a lone CR.
 */
export class LineReader {
  private readonly decoder = new TextDecoder();
  private rest = '';
  private afterCr = false;

  push(bytes: Uint8Array): string[] {
    return this.split(this.decoder.decode(bytes, { stream: true }));
  }

  /** What is left when the stream has ended, if anything. */
  end(): string | null {
    const last = this.rest + this.decoder.decode();
    this.rest = '';
    return last === '' ? null : last;
  }

  private split(text: string): string[] {
    if (text === '') return [];
    if (this.afterCr && text.startsWith('\n')) text = text.slice(1);
    this.afterCr = text.endsWith('\r') || (text === '' && this.afterCr);
    const lines = (this.rest + text).split(/\r\n|\n|\r/);
    this.rest = lines.pop() ?? '';
    return lines;
  }
}
