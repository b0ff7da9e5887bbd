taosx run -f 'tmq://root:taosdata@td1:6030/db1' -t 'local:/path_directory/'
