/** A request that did not succeed: the service's `application/problem+json`, or no answer at all (status 0). */
export class Problem extends Error {
  readonly status: number;
  readonly code: string;
  readonly hint: string | null;

  constructor(status: number, code: string, message: string, hint: string | null = null) {
    super(message);
    this.name = 'Problem';
    this.status = status;
    this.code = code;
    this.hint = hint;
  }

  static unreachable(): Problem {
    return new Problem(0, 'unreachable', 'The service does not answer.');
  }

  static async from(response: Response): Promise<Problem> {
    const body: unknown = await response.json().catch(() => null);
    const said = (body ?? {}) as { title?: string; detail?: string; code?: string; hint?: string };
    const message = said.detail || said.title || `The service answered ${response.status}.`;
    return new Problem(response.status, said.code ?? `http-${response.status}`, message, said.hint ?? null);
  }

  static of(error: unknown): Problem {
    if (error instanceof Problem) return error;
    return new Problem(0, 'unexpected', error instanceof Error ? error.message : String(error));
  }
}
