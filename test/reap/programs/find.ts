// Prints what findMembers finds for the query in QUERY, as the user that it runs as.
import { findMembers, type MemberQuery } from '../../../src/reap/members.ts'

const found = findMembers(JSON.parse(process.env.QUERY ?? '') as MemberQuery)
process.stdout.write(JSON.stringify(found))
