import { useState } from 'preact/hooks';
import { Button } from '../parts/button.tsx';
import { Field, Input } from '../parts/field.tsx';
import { ProblemNote } from '../parts/problem.tsx';
import { api } from '../service/api.ts';
import { Problem } from '../service/problem.ts';

/** For whoever comes without a sign-in link: one field. */
export function SignInPage({ failed }: { failed: Problem | null }) {
  const [token, setToken] = useState('');
  // Undefined until the first try.
  const [own, setProblem] = useState<Problem | null | undefined>(undefined);
  const problem = own === undefined ? failed : own;
  const [busy, setBusy] = useState(false);
  const signIn = async () => {
    setBusy(true);
    setProblem(null);
    try {
      await api.signIn({ token: token.trim() });
    } catch (error) {
      const met = Problem.of(error);
      setProblem(met.status === 401 ? new Problem(401, met.code, 'That is not the token.') : met);
      setBusy(false);
    }
  };
  return (
    <main class="signin">
      <form
        class="card"
        onSubmit={(event) => {
          event.preventDefault();
          void signIn();
        }}
      >
        <h1>Sign in</h1>
        {problem && <ProblemNote problem={problem} />}
        <Field label="Token" help="It is in the file `token` in the service's state directory. The command `agent ui` opens this page signed in.">
          {(wiring) => <Input {...wiring} type="password" autocomplete="current-password" autofocus value={token} onValue={setToken} />}
        </Field>
        <Button kind="main" submit disabled={busy || token.trim() === ''}>
          Sign in
        </Button>
      </form>
    </main>
  );
}
