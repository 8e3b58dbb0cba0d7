-- What is removed is found without looking at all.
CREATE INDEX requests_by_time ON requests (at);
CREATE INDEX requests_unanswered ON requests (agent) WHERE answer IS NULL;
