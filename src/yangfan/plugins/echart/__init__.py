"""Charts out of a question and a table: the data, a checked ECharts option (https://echarts.apache.org/en/option.html), and a picture."""
