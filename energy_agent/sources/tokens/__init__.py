"""Token sources: one file = one kind of serving engine, turning its metrics page into `_reading.TokenReading`.

Metric names churn between server versions, so each file keeps an alias list and names the versions. `_reading` has what all
share: the reading, the server's description and the delta between two readings; `_page` fetches a page within bounds.
"""
