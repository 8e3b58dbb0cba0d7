import { emptyAgent, typed } from './parts/draft.ts';
import { api } from './service/api.ts';
import { forgetPrompts } from './service/prompts.ts';

/** What was typed here is of the person who leaves. */
export function signOut(): void {
  forgetPrompts();
  typed.value = emptyAgent();
  void api.signOut();
}
