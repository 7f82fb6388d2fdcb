"""What stands between queue, downloader and spider: one class for each concern, each replaceable by a setting.

A downloader middleware has `process_request(request, spider)`, `process_response(request, response, spider)` and
`process_exception(request, exception, spider)`; a spider middleware `get_processed_request(request, response)`,
`get_processed_item(item, response)` or `process_spider_output(response, result, spider)`, `process_spider_input` and
`process_spider_exception`; a scheduler middleware `enqueue(request, spider)` and `dequeue(request, spider)`.
"""
