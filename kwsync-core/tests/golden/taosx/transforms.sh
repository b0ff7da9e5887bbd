taosx run -f 'taos://td1:6030/db1' -t 'taos://td2:6030/db2' -T add-tag:site=berlin
taosx run -f 'taos://td1:6030/db1' -t 'taos://td2:6030/db2' --transform rename-table:prefix:p_
taosx run -f 'taos://td1:6030/db1' -t 'taos://td2:6030/db2' -T 'rename-child-table:replace_with_regex:^prefix1(?<old>)::prefix2_$old'
taosx run -f 'taos://td1:6030/db1' -t 'taos://td2:6030/db2' -T rename-super-table:suffix:_s -T rename-child-table:template:{stable}_{old} --jobs 4 -vv
