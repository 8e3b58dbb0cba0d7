// What a browser has to fetch, compressed; fails when it is more than it may be.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, gzipSync } from 'node:zlib';

const AT_ONCE = 250 * 1024;
/** With what is fetched only when its characters are shown, or a recording. */
const IN_ALL = 450 * 1024;
const ON_DEMAND = /-(latin-ext|greek|cyrillic)-|-(symbols2|braille)-700-|\/player-/;
const dist = fileURLToPath(new URL('../dist/', import.meta.url));
let [atOnce, inAll] = [0, 0];
for (const name of readdirSync(dist, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())) {
  const bytes = readFileSync(`${name.parentPath}/${name.name}`);
  const gzip = gzipSync(bytes, { level: 9 }).length;
  inAll += gzip;
  if (!ON_DEMAND.test(`/${name.name}`)) atOnce += gzip;
  console.log(`${String(bytes.length).padStart(8)} ${String(gzip).padStart(8)} gzip ${String(brotliCompressSync(bytes).length).padStart(8)} brotli  ${name.name}`);
}
console.log(`${atOnce} bytes with gzip at once, ${AT_ONCE} allowed; ${inAll} with all parts of the font, ${IN_ALL} allowed`);
process.exitCode = atOnce > AT_ONCE || inAll > IN_ALL ? 1 : 0;
