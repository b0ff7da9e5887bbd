taosx run -f 'local:/path_directory/' -t 'taos://root:taosdata@td2:6030/db1?assert'
