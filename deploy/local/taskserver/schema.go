package taskserver

const schema = `
CREATE TABLE queues (
  id    INTEGER PRIMARY KEY,
  queue BLOB NOT NULL                 -- google.cloud.tasks.v2.Queue
);
CREATE TABLE tasks (
  id         INTEGER PRIMARY KEY,
  queue      INTEGER NOT NULL,
  task       BLOB NOT NULL,           -- google.cloud.tasks.v2.Task, as created
  at         INTEGER NOT NULL,        -- when it is due, in microseconds since 1970, as all times here
  dispatched INTEGER NOT NULL DEFAULT 0,
  responded  INTEGER NOT NULL DEFAULT 0,
  executed   INTEGER NOT NULL DEFAULT 0,
  previous   INTEGER NOT NULL DEFAULT 0, -- the HTTP status of the last response
  first      INTEGER NOT NULL DEFAULT 0, -- when it was first dispatched
  last       BLOB                     -- google.cloud.tasks.v2.Attempt
);
CREATE TABLE names (                  -- that stay taken
  queue   INTEGER NOT NULL,
  hash    BLOB NOT NULL,
  expires INTEGER NOT NULL
);
PRAGMA user_version = 1;
`

// The statements of the journal.
const (
	saveQueue = iota
	insertTask
	updateTask
	deleteTask
	insertName
	deleteQueue
	deleteQueueTasks
	deleteQueueNames
	expireNames
)

var statements = []string{
	saveQueue:        `INSERT INTO queues (id, queue) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET queue = excluded.queue`,
	insertTask:       `INSERT INTO tasks (id, queue, task, at) VALUES (?, ?, ?, ?)`,
	updateTask:       `UPDATE tasks SET at = ?, dispatched = ?, responded = ?, executed = ?, previous = ?, first = ?, last = ? WHERE id = ?`,
	deleteTask:       `DELETE FROM tasks WHERE id = ?`,
	insertName:       `INSERT INTO names (queue, hash, expires) VALUES (?, ?, ?)`,
	deleteQueue:      `DELETE FROM queues WHERE id = ?`,
	deleteQueueTasks: `DELETE FROM tasks WHERE queue = ?`,
	deleteQueueNames: `DELETE FROM names WHERE queue = ?`,
	expireNames:      `DELETE FROM names WHERE expires <= ?`,
}
