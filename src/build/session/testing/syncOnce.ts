import { ContextFolder } from '../contextSync.ts'
import { ContextWorker } from '../contextWorker.ts'
import { openFolderClient } from './folderClient.ts'

/** A process that syncs one folder, so that a test can kill it: `node syncOnce.ts <source> <kept>`. */
const [source = '', kept = ''] = process.argv.slice(2)
await using worker = new ContextWorker()
await using client = await openFolderClient({ context: source })
await new ContextFolder(kept, worker).sync({
  session: client.session,
  request: { name: 'context', differ: 'metadata' },
  signal: AbortSignal.timeout(60_000),
})
