-- expand: programs that know version 3 go on; they take any project and any model for a limit's subject. The SQLite twin of this
-- file differs in types only.

-- Which projects owners have, as organization told last. deleted: 1 where it is gone. incarnation: in which incarnation of
-- organization that was said.
CREATE TABLE projects (
    owner       BYTEA  NOT NULL,
    id          UUID   NOT NULL,
    deleted     BIGINT NOT NULL CHECK (deleted IN (0, 1)),
    incarnation BIGINT NOT NULL,
    PRIMARY KEY (owner, id)
);
CREATE INDEX projects_incarnation ON projects (incarnation);

-- By which it is found whether an owner has used a project or a model before. What is for none, or with none, is not looked for.
CREATE INDEX usage_hours_project ON usage_hours (owner, project) WHERE project <> '';
CREATE INDEX usage_hours_model ON usage_hours (owner, model) WHERE model <> '';
