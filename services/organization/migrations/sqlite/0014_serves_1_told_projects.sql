-- expand: programs that know version 1 go on; they tell nobody of projects, so what they make is told later by programs that do.
-- The PostgreSQL twin of this file differs in types only.

-- Whether it was told that a project was made: 1, or 0 where a program of before made it.
ALTER TABLE projects ADD COLUMN told INTEGER NOT NULL DEFAULT 0;
CREATE INDEX projects_untold ON projects (id) WHERE told = 0;
