import { getRuntimeVars, setRuntimeVars } from '../../src/actor/index.ts'

/** Notes what a test could change for those after it. @returns a function that puts it back */
export function keepRuntime(): () => void {
  const vars = getRuntimeVars()
  const env = ours(process.env)
  return () => {
    setRuntimeVars(vars)
    for (const name of Object.keys(ours(process.env))) if (!(name in env)) delete process.env[name]
    Object.assign(process.env, env)
  }
}

function ours(env: NodeJS.ProcessEnv): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(env).filter(([name]) => name.startsWith('HARROW_')))
}
