/** The command that runs one test again: `npx vitest run FILE -t "NAME"`. */
export function reproduceCommand(file: string, test: readonly string[] | null, project?: string): string {
  const words = ['npx vitest run', shellWord(file), ...ofProject(project)]
  // vitest matches the pattern against the titles joined by " > ", as a regular expression.
  if (test !== null && test.length > 0) words.push('-t', quoted(escapePattern(test.join(' > '))))
  return words.join(' ')
}

/** The command for a hang: a worker that hangs at its start or stop belongs to no test, and perhaps to no file. */
export function reproduceHang(facts: {
  file: { path: string }
  test: readonly string[] | null
  phase: string
  project?: string
}): string {
  if (facts.phase === 'start') return ['npx vitest run', ...ofProject(facts.project)].join(' ')
  return reproduceCommand(facts.file.path, facts.test, facts.project)
}

function ofProject(name: string | undefined): string[] {
  return name === undefined ? [] : ['--project', shellWord(name)]
}

function escapePattern(text: string): string {
  // A line end or escape sequence in a title cannot be typed into a shell: any character will do in its place.
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&').replace(/[\u0000-\u001f\u007f]/g, '.')
}

function shellWord(text: string): string {
  return /^[\w./@%+,:=-]+$/.test(text) ? text : quoted(text)
}

/** Double quotes read the same in every shell; single ones only where the text has what double ones would interpret. */
function quoted(text: string): string {
  return /["$`\\!]/.test(text) ? `'${text.replaceAll("'", `'\\''`)}'` : `"${text}"`
}
