import { describe, expect, test } from 'vitest'
import { isSecretName, Redactor, redactLocal, redactText } from '../../src/dump/redact.ts'

describe('redaction by name', () => {
  test.each([
    'password',
    'dbPasswd',
    'clientSecret',
    'accessToken',
    'apiKey',
    'API_KEY',
    'api-key',
    'Authorization',
    'cookie',
    'credentials',
    'privateKey',
    'PRIVATE_KEY',
  ])('hides %s', (name) => {
    expect(redactLocal(name, 'x')).toBe('[redacted]')
  })

  test.each(['name', 'key', 'path', 'author', 'passed'])('shows %s', (name) => {
    expect(redactLocal(name, 'x')).toBe('x')
  })

  test('hides names of the user, given as patterns or as their source', () => {
    expect(isSecretName('IBAN', ['iban'])).toBe(true)
    expect(isSecretName('customerId', [/^customer/g])).toBe(true)
    expect(isSecretName('customerId', ['^customer'])).toBe(true)
    expect(isSecretName('a(b', ['(b'])).toBe(true)
    expect(isSecretName('other', ['iban', ''])).toBe(false)
  })
})

describe('redaction inside texts', () => {
  test.each([
    ['psql --password=hunter2 -h db', 'psql --password=[redacted] -h db'],
    ['run --token hunter2 x', 'run --token [redacted] x'],
    ['API_KEY=hunter2 node x.js', 'API_KEY=[redacted] node x.js'],
    ["curl -H 'Authorization: Bearer hunter2hunter2'", "curl -H 'Authorization: [redacted]'"],
    ['Bearer hunter2hunter2', 'Bearer [redacted]'],
    ['postgres://ann:hunter2@db/x', 'postgres://ann:[redacted]@db/x'],
    ['https://:hunter2@host/', 'https://:[redacted]@host/'],
    ["await login({ password: 'hunter2', name: 'ann' })", "await login({ password: '[redacted]', name: 'ann' })"],
    ['{"apiKey":"hunter2"}', '{"apiKey":"[redacted]"}'],
    ['https://x.example/?token=hunter2&page=2', 'https://x.example/?token=[redacted]&page=2'],
    ['key ghp_abcdefghijklmnopqrstuvwxyz0123', 'key [redacted]'],
  ])('%s', (text, expected) => {
    expect(redactText(text)).toBe(expected)
  })

  test.each([
    'const token = await getToken()',
    'while (token === undefined) {}',
    'if (password == null) return',
    'await server.close()',
    'node --test-name-pattern=token file.js',
    'http://127.0.0.1:8080/a@b',
  ])('leaves %s alone', (text) => {
    expect(redactText(text)).toBe(text)
  })

  test('is the same when done twice, and counts once', () => {
    const redactor = new Redactor()
    const once = redactor.text("--password=x Authorization: Bearer abcdefgh, { secret: 'y' } http://a:b@c")
    expect(redactor.text(once)).toBe(once)
    expect(redactor.count).toBe(4)
  })
})
