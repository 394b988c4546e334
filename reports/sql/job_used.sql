-- The pieces of one job and of the whole devices of its nodes (job.sql), for used.sql.
CREATE OR REPLACE VIEW span_piece AS SELECT * FROM job_span;
